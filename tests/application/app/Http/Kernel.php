<?php

namespace App\Http;

use Illuminate\Foundation\Http\Kernel as FrameworkKernel;
use Illuminate\Foundation\Http\Middleware\PreventRequestsDuringMaintenance;

class Kernel extends FrameworkKernel
{
    protected $middleware = [PreventRequestsDuringMaintenance::class];
}
