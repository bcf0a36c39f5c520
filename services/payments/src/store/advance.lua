#!lua
-- Stores one decision, all of it or nothing. The first line lets Redis refuse it whole when memory is out.
-- KEYS: order, due times, events, jobs, refund, inventory's events; mark of the request, if it has one.
-- ARGV: expected version ('0': must not exist), order id, patch of the order, refund or '', due time or '',
--       channel of changes, new version, record for the mark, milliseconds to keep it, when it changed last,
--       ids of the entries of inventory's that it follows from, with a space between them,
--       number of events, then every event and every job as: number of its arguments, field, value, ...
-- Returns 1 when stored, 0 when the order is another by now, the record when the request is known already, a list of those
-- entries that Redis does not have (any more).
local function refuse(what)
  return redis.error_reply('ADVANCE ' .. what)
end

local function is_document(text)
  local parsed, value = pcall(cjson.decode, text)
  return parsed and type(value) == 'table'
end

-- Everything is checked before the first write: a script that fails later would leave half an effect.
local expected = tonumber(ARGV[1])
if not expected then return refuse('expected version is no number') end
if not is_document(ARGV[3]) then return refuse('patch is no document') end
if ARGV[4] ~= '' and not is_document(ARGV[4]) then return refuse('refund is no document') end
if ARGV[5] ~= '' and not tonumber(ARGV[5]) then return refuse('due time is no number') end
if not tonumber(ARGV[7]) then return refuse('new version is no number') end
if KEYS[7] and not is_document(ARGV[8]) then return refuse('record is no document') end
-- At most 15 digits, so that the end of it is a time that Redis can hold.
if KEYS[7] and not (#ARGV[9] <= 15 and ARGV[9]:find('^[1-9]%d*$')) then return refuse('retention is no time') end
local changed_last = tonumber(ARGV[10])
if not changed_last then return refuse('time of the last change is no number') end

local types = { 'ReJSON-RL', 'zset', 'stream', 'stream', 'ReJSON-RL', 'stream', 'string' }
for index, key in ipairs(KEYS) do
  local actual = redis.call('TYPE', key).ok
  if actual ~= 'none' and actual ~= types[index] then return refuse('key ' .. index .. ' is a ' .. actual) end
end

local events = tonumber(ARGV[12])
if not events then return refuse('number of events is no number') end
local entries, at = {}, 13
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  if not count or count < 2 or count % 2 ~= 0 or at + count > #ARGV then return refuse('entry is incomplete') end
  entries[#entries + 1] = { at + 1, at + count }
  at = at + count + 1
end
if events > #entries then return refuse('events are missing') end

local record = KEYS[7] and redis.call('GET', KEYS[7])
if record then return record end

-- A Redis that crashed may have lost what inventory told, and the reservation that it told of, after somebody had read it.
local lost = {}
for id in ARGV[11]:gmatch('%S+') do
  if #redis.call('XRANGE', KEYS[6], id, id) == 0 then lost[#lost + 1] = id end
end
if #lost > 0 then return lost end

local version, updated_at = 0, 0
local stored = redis.call('JSON.GET', KEYS[1], '.version', '.updated_at')
if stored then
  stored = cjson.decode(stored)
  version, updated_at = stored['.version'], stored['.updated_at']
end
-- The version alone can come again, by another way, after Redis has lost writes.
if version ~= expected or updated_at ~= changed_last then return 0 end

if KEYS[7] then redis.call('SET', KEYS[7], ARGV[8], 'PX', ARGV[9]) end
redis.call('JSON.MERGE', KEYS[1], '$', ARGV[3])
if ARGV[4] ~= '' then redis.call('JSON.SET', KEYS[5], '$', ARGV[4]) end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[2])
else
  redis.call('ZREM', KEYS[2], ARGV[2])
end
for index, entry in ipairs(entries) do
  local stream = index <= events and KEYS[3] or KEYS[4]
  redis.call('XADD', stream, '*', unpack(ARGV, entry[1], entry[2]))
end
-- A hint to those who watch: whether it goes out decides about nothing.
redis.pcall('PUBLISH', ARGV[6], ARGV[2] .. ' ' .. ARGV[7])
return 1
