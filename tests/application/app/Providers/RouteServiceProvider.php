<?php

namespace App\Providers;

use Illuminate\Foundation\Support\Providers\RouteServiceProvider as FrameworkProvider;

class RouteServiceProvider extends FrameworkProvider
{
    public function boot(): void
    {
        $this->routes(fn () => require base_path('routes/web.php'));
    }
}
