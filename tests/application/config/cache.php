<?php

// Kept in the database on purpose: a restore then rewinds the queue:restart signal too.
return [
    'default' => env('CACHE_DRIVER', 'database'),
    'stores' => [
        'database' => ['driver' => 'database', 'table' => 'cache', 'connection' => null],
        'file' => ['driver' => 'file', 'path' => storage_path('framework/cache')],
    ],
    'prefix' => 'ledger',
];
