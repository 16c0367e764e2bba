<?php
// A shortener in PHP that counts as YOURLS does: in the request, before it redirects.
// DSN, DATABASE_USER: of PDO. Connections are kept by the process.
$code = substr($_SERVER['REQUEST_URI'], 1);
$dsn = $_SERVER['DSN'];
$isSqlite = str_starts_with($dsn, 'sqlite:');
$db = new PDO($dsn, $_SERVER['DATABASE_USER'], null, [
    PDO::ATTR_PERSISTENT => true,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_TIMEOUT => 10,
    // Statements do not outlive a request: to prepare them at the server would be one more way
    // there and back for each.
    PDO::ATTR_EMULATE_PREPARES => true,
]);
if ($isSqlite) {
    $db->exec('PRAGMA synchronous = NORMAL');
}
$find = $db->prepare('SELECT target FROM links WHERE code = ?');
$find->execute([$code]);
$target = $find->fetchColumn();
$find->closeCursor();
if ($target === false) {
    http_response_code(404);
    exit;
}
$db->exec($isSqlite ? 'BEGIN IMMEDIATE' : 'BEGIN');
$db->prepare('UPDATE links SET clicks = clicks + 1 WHERE code = ?')->execute([$code]);
$db->prepare('INSERT INTO log (click_time, shorturl, referrer, user_agent, ip_address, country_code)
    VALUES (?, ?, ?, ?, ?, ?)')->execute([
        gmdate('Y-m-d H:i:s'),
        $code,
        substr($_SERVER['HTTP_REFERER'] ?? '', 0, 200),
        substr($_SERVER['HTTP_USER_AGENT'] ?? '', 0, 255),
        $_SERVER['HTTP_X_FORWARDED_FOR'] ?? $_SERVER['REMOTE_ADDR'],
        '',
    ]);
$db->exec('COMMIT');
header("Location: $target", true, 302);
