<?php
// The same of PHP: what json_decode makes of a file, as arrays.
ini_set('memory_limit', '-1');
preg_match('/^RssAnon:\s+(\d+)/m', file_get_contents('/proc/self/status'), $bare);
$data = json_decode(file_get_contents($argv[1]), true);
echo "ready $bare[1]\n";
while (fgets(STDIN) !== false) {
    $hash = hash_init('md5');
    foreach ($data as $record) {
        hash_update($hash, serialize($record));
    }
    echo hash_final($hash), "\n";
}
