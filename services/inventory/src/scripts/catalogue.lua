-- Shared head of create_product and adjust_stock.
-- KEYS: 1 product, 2 stock, 3 catalogue stream, 4 mark of the request.
-- ARGV: 1 product id, 2 event id, 3 time, 4 traceparent, 5 request id, 6 record, 7 how long it is kept, then what the
-- script itself says.
-- No group reads the catalogue's stream, so nobody trims it: each new entry lets go of those older than an hour, by id.
local RETENTION = 3600 * 1000

-- Everything is checked before the first write: a script that fails later leaves half an effect and no mark, and the same
-- request would have it again.
local function corrupt(what)
  return redis.error_reply('CORRUPT ' .. what)
end

local expected = {{'product', 'ReJSON-RL'}, {'stock', 'hash'}, {'catalogue', 'stream'}, {'record', 'string'}}
for index, key in ipairs(KEYS) do
  local what, kind = unpack(expected[index])
  local actual = redis.call('TYPE', key).ok
  if actual ~= 'none' and actual ~= kind then return corrupt(what) end
end

local function kept_from()
  local time = redis.call('TIME')
  return string.format('%.0f', tonumber(time[1]) * 1000 - RETENTION)
end

-- The record of the same request, sent before; false when there is none. Whoever finds one writes nothing.
local function earlier()
  return redis.call('GET', KEYS[4])
end

-- In the script that has the effect: there is no time between the two in which a repetition could run.
local function remember(record)
  redis.call('SET', KEYS[4], record, 'PX', ARGV[7])
end

