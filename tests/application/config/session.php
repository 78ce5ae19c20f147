<?php

return [
    'driver' => 'database', 'connection' => null, 'table' => 'sessions', 'lifetime' => 120, 'lottery' => [0, 100],
    'cookie' => 'ledger_session', 'path' => '/', 'domain' => null, 'secure' => false, 'http_only' => true,
    'expire_on_close' => false, 'encrypt' => false, 'same_site' => 'lax', 'store' => null,
];
