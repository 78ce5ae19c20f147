<?php

namespace App\Providers;

use Illuminate\Support\ServiceProvider;

/** Sets the journal mode and the wait for locks that the configuration asks for, on each new connection. */
class SqliteServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        $settings = $this->app['config']['database.connections.sqlite'];
        $this->app['db']->extend('sqlite', function (array $config, string $name) use ($settings) {
            $connection = $this->app['db.factory']->make($config, $name);
            $connection->statement('PRAGMA busy_timeout = '.(int) $settings['wait_milliseconds']);
            if ($settings['wanted_journal_mode']) {
                $connection->statement('PRAGMA journal_mode = '.$settings['wanted_journal_mode']);
            }

            return $connection;
        });
    }
}
