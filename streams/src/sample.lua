-- Reads one group of one stream as a single snapshot. Writes nothing.
-- KEYS[1] the stream. ARGV[1] the group, ARGV[2] how many entries may be counted on each side.
-- The rule: undelivered is read off the ends of the stream where possible, counted where that is cheap, and only else
-- estimated between bounds that were just proven. Redis's own lag is nil or wrong after deletions, trims and SETID.
local key, group, cap = KEYS[1], ARGV[1], tonumber(ARGV[2])
local LAST_ID = '18446744073709551615-18446744073709551615'

local function to_map(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

-- Ids are compared as text: a Lua number holds no 64-bit integer. Without leading zeros the longer one is larger.
local function number_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return number_less(a_ms, b_ms) end
  return number_less(a_seq, b_seq)
end

local function count(...)
  return #redis.call(...)
end
local function exists(id)
  return count('XRANGE', key, id, id, 'COUNT', 1) == 1
end

local info = redis.pcall('XINFO', 'STREAM', key)
if info.err then
  if string.find(info.err, 'no such key', 1, true) then return {'no-stream'} end
  if string.sub(info.err, 1, 9) == 'WRONGTYPE' then return {'wrong-type'} end
  return info
end
local stream = to_map(info)
local length = stream['length']

local found
for _, entry in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local map = to_map(entry)
  if map['name'] == group then found = map end
end
if not found then
  return {'no-group', length, stream['last-generated-id'], stream['entries-added']}
end
local last = found['last-delivered-id']

local function undelivered()
  if length == 0 or last == LAST_ID or count('XRANGE', key, '(' .. last, '+', 'COUNT', 1) == 0 then
    return 0, 'tail'
  end
  if count('XREVRANGE', key, last, '-', 'COUNT', 1) == 0 then return length, 'head' end
  local right = count('XRANGE', key, '(' .. last, '+', 'COUNT', cap + 1)
  if right <= cap then return right, 'right' end
  local left = count('XREVRANGE', key, last, '-', 'COUNT', cap + 1)
  if left <= cap then return length - left, 'left' end
  -- Both sides hold more than cap. Redis's lag where it lies between the bounds, else by the share of time.
  local least, most = cap + 1, length - (cap + 1)
  local estimate = found['lag']
  if not estimate or estimate < least or estimate > most then
    local function ms(id) return tonumber(string.match(id, '^(%d+)')) end
    local first_ms, last_ms = ms(stream['first-entry'][1]), ms(stream['last-entry'][1])
    local share = last_ms > first_ms and (last_ms - ms(last)) / (last_ms - first_ms) or 0.5
    estimate = math.floor(length * share)
  end
  return math.max(least, math.min(most, estimate)), 'estimated'
end

-- Pending entries that are gone from the stream, and those that will be delivered once more because the group was set
-- back. Answers: ghosts, overlap, whether both are exact. What is not proven is left in, so that no work is hidden.
local function pending_corrections()
  local pending = found['pending']
  if pending == 0 then return 0, 0, 1 end
  if length == 0 then return pending, 0, 1 end
  local summary = redis.call('XPENDING', key, group)
  local lowest, highest = summary[2], summary[3]
  local exact, ghosts, overlap = 1, 0, 0

  local first, deleted = stream['first-entry'][1], stream['max-deleted-entry-id']
  -- Above the first entry and above every deleted id, whatever was delivered is still there.
  if less(lowest, first) or not less(deleted, lowest) then
    local upper = less(deleted, first) and first or deleted
    local suspects = redis.call('XPENDING', key, group, '-', upper, cap + 1)
    if #suspects > cap then exact = 0 end
    for i = 1, math.min(#suspects, cap) do
      if not exists(suspects[i][1]) then ghosts = ghosts + 1 end
    end
  end
  if less(last, highest) then
    local again = redis.call('XPENDING', key, group, '(' .. last, '+', cap + 1)
    if #again > cap then exact = 0 end
    for i = 1, math.min(#again, cap) do
      if exists(again[i][1]) then overlap = overlap + 1 end
    end
  end
  return ghosts, overlap, exact
end

local waiting, source = undelivered()
local ghosts, overlap, exact = pending_corrections()
return {
  'known', waiting, source, found['pending'], ghosts, overlap, exact, length, last,
  stream['last-generated-id'], stream['entries-added'], found['consumers'], found['lag'] or -1,
}
