<?php

namespace App\Jobs;

use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Log;

/** What the workers do all day: one transaction and its line in the audit log. */
class RecordTransaction implements ShouldQueue
{
    use Dispatchable;

    public function handle(): void
    {
        DB::transaction(function () {
            $now = now();
            $id = DB::table('transactions')->insertGetId([
                'user_id' => DB::table('users')->min('id'),
                'amount_cents' => 100,
                'created_at' => $now,
            ]);
            DB::table('audit_logs')->insert([
                'action' => 'transaction.recorded', 'subject_id' => $id, 'created_at' => $now,
            ]);
            Log::info('transaction recorded', ['id' => $id]);
        });
    }
}
