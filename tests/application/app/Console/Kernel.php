<?php

namespace App\Console;

use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Foundation\Console\Kernel as FrameworkKernel;

class Kernel extends FrameworkKernel
{
    protected function schedule(Schedule $schedule): void
    {
        $schedule->command('transactions:enqueue')->everyMinute();
    }

    protected function commands(): void
    {
        require base_path('routes/console.php');
    }
}
