// A shortener in Node: an LRU in the process, clicks summed up and written once a second.
// DATABASE: a file, or postgres://…; MEMORY: links in the LRU, 0 for none.
'use strict';
const http = require('node:http');

const FRESH = 60_000;
const most = Number(process.env.MEMORY);
const { find, count } = process.env.DATABASE.startsWith('postgres:')
  ? postgres(process.env.DATABASE)
  : sqlite(process.env.DATABASE);
const kept = new Map();
let clicks = new Map();

function sqlite(file) {
  const database = new (require('better-sqlite3'))(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.pragma('cache_size = -65536');
  const select = database.prepare('SELECT target FROM links WHERE code = ?').pluck();
  const update = database.prepare('UPDATE links SET clicks = clicks + ? WHERE code = ?');
  const all = database.transaction((counts) => counts.forEach((n, code) => update.run(n, code)));
  return { find: (code) => select.get(code), count: async (counts) => all(counts) };
}

function postgres(url) {
  const pool = new (require('pg').Pool)({ connectionString: url, max: 8, idleTimeoutMillis: 0 });
  const select = (code) => ({
    name: 'find', text: 'SELECT target FROM links WHERE code = $1', values: [code], rowMode: 'array',
  });
  const update = `UPDATE links SET clicks = clicks + new.n
    FROM unnest($1::text[], $2::bigint[]) AS new (code, n) WHERE links.code = new.code`;
  return {
    find: async (code) => (await pool.query(select(code))).rows[0]?.[0],
    count: (counts) => pool.query(update, [[...counts.keys()], [...counts.values()]]),
  };
}

function remember(code, target) {
  if (most === 0) return;
  if (kept.size >= most) kept.delete(kept.keys().next().value);
  kept.set(code, { target, until: Date.now() + FRESH });
}

function answer(response, code, target) {
  if (target === undefined) return response.writeHead(404, { 'Content-Length': 0 }).end();
  clicks.set(code, (clicks.get(code) ?? 0) + 1);
  response.writeHead(302, { Location: target, 'Content-Length': 0 }).end();
}

function fail(response, error) {
  console.error(error);
  response.writeHead(503, { 'Content-Length': 0 }).end();
}

const server = http.createServer((request, response) => {
  const code = request.url.slice(1);
  const there = kept.get(code);
  if (there !== undefined) {
    kept.delete(code);
    if (there.until > Date.now()) {
      kept.set(code, there);
      return answer(response, code, there.target);
    }
  }
  const done = (target) => {
    if (target !== undefined) remember(code, target);
    answer(response, code, target);
  };
  const found = find(code);
  if (found instanceof Promise) found.then(done, (error) => fail(response, error));
  else done(found);
});

setInterval(() => {
  if (clicks.size === 0) return;
  const counts = clicks;
  clicks = new Map();
  count(counts).catch(console.error);
}, 1000);

server.keepAliveTimeout = 600_000;
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening ${server.address().port}`));
