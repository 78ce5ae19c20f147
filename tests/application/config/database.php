<?php

return [
    'default' => 'sqlite',
    'connections' => [
        'sqlite' => [
            'driver' => 'sqlite',
            'database' => env('DB_DATABASE', database_path('database.sqlite')),
            'prefix' => '',
            'foreign_key_constraints' => true,
            // Read by SqliteServiceProvider; no mode leaves the file as it is.
            'wanted_journal_mode' => env('DB_JOURNAL_MODE'),
            'wait_milliseconds' => 5000,
        ],
    ],
    'migrations' => 'migrations',
];
