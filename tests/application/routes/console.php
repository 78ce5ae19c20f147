<?php

use App\Jobs\RecordTransaction;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;

Artisan::command('transactions:enqueue', function () {
    RecordTransaction::dispatch();
    $this->info("One transaction queued.");
})->purpose('Queue one transaction for the workers');

Artisan::command('smoke', function () {
    $wrong = [];
    foreach (['users', 'transactions', 'audit_logs'] as $table) {
        $rows = DB::table($table)->count();
        $this->line("{$table}: {$rows} rows");
        if ($rows === 0) {
            $wrong[] = "{$table} is empty";
        }
    }
    $strays = DB::table('transactions')->leftJoin('users', 'users.id', '=', 'transactions.user_id')
        ->whereNull('users.id')->count();
    if ($strays > 0) {
        $wrong[] = "{$strays} transactions belong to nobody";
    }
    foreach ($wrong as $line) {
        $this->error($line);
    }
    $wrong || $this->info('Smoke test passed.');

    return $wrong ? 1 : 0;
})->purpose('The least that must hold: rows in every critical table, and every transaction has its user');

// Only for tests of the log scan: an error that reaches storage/logs/laravel.log with its stack trace.
Artisan::command('trouble', function () {
    throw new RuntimeException('a payment was declined twice');
})->purpose('Fail with an exception');
