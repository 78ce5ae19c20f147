<?php

use App\Jobs\RecordTransaction;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Route;

Route::get('/health', fn () => response()->json([
    'status' => 'ok',
    'users' => DB::table('users')->count(),
    'transactions' => DB::table('transactions')->count(),
]));

Route::post('/transactions', function () {
    (new RecordTransaction)->handle();

    return response()->json(['transactions' => DB::table('transactions')->count()], 201);
});
