-- Reads one group of one stream as a single snapshot. Writes nothing.
-- KEYS[1] the stream. ARGV: the group; how many entries may be counted at a time; after how many milliseconds a pending
-- entry may be claimed; how many deliveries an entry gets, 0 for any number; 1 to look into a large pending list; and
-- the anchor, if there is one: id, entries behind it, length, entries added, last generated id, first id behind it.
-- The rule: undelivered is read off the ends of the stream where possible, else off the anchor, counted where that is
-- cheap, and only else estimated between bounds that were just proven. Redis's own lag is nil or wrong after deletions,
-- trims and SETID, so nothing exact rests on it.
local key, group, cap = KEYS[1], ARGV[1], tonumber(ARGV[2])
local claim_min_idle, max_deliveries, look_deep = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
-- A pending list this short is always looked into.
local SHORT = 128
-- Shares are read for groups with no more consumers than this, and as many are told as the second number says.
local CONSUMERS_READ, CONSUMERS_TOLD = 4096, 1024
-- Beyond it a Lua number no longer tells neighbours apart.
local COUNTS_EXACT = 9007199254740992

local function exists(id)
  return count('XRANGE', key, id, id, 'COUNT', 1) == 1
end
local function first_behind(id)
  if id == LAST_ID then return '' end
  local entry = redis.call('XRANGE', key, '(' .. id, '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end

local info = redis.pcall('XINFO', 'STREAM', key)
if info.err then
  if string.find(info.err, 'no such key', 1, true) then return {'no-stream'} end
  if string.find(info.err, 'WRONGTYPE', 1, true) then return {'wrong-type'} end
  return info
end
local stream = to_map(info)
local length, added, generated = stream['length'], stream['entries-added'], stream['last-generated-id']
local deleted = stream['max-deleted-entry-id']

local found = find_group(key, group)
if not found then return {'no-group', length, generated, added} end
local last = found['last-delivered-id']
local next_id = length == 0 and '' or first_behind(last)

-- How many entries lie behind the anchor now, or nil when its old count says nothing about that. With no entry left at
-- or before it, it is the length. Else no trim reached behind it, because trims take the lowest ids first; and no
-- deletion by id did when nothing was removed at all, or when the largest id ever deleted is at or before it. Then the
-- old count holds, with what was added since, all of it behind the newest id.
local function behind_anchor(anchor)
  if count('XREVRANGE', key, anchor.id, '-', 'COUNT', 1) == 0 then return length end
  local new = added - anchor.added
  local removed = new - (length - anchor.length)
  if removed > 0 and less(anchor.id, deleted) then return nil end
  -- Another stream under the same name: counters or ids that went back, or another first entry behind the anchor.
  if new < 0 or removed < 0 or added >= COUNTS_EXACT then return nil end
  if less(generated, anchor.generated) or (new == 0) ~= (generated == anchor.generated) then return nil end
  if anchor.behind > 0 and first_behind(anchor.id) ~= anchor.first then return nil end
  return anchor.behind + new
end

local function anchor_at(id, behind, first)
  -- Behind an id that the stream has not reached yet, not every new entry counts.
  if id == LAST_ID or less(generated, id) then return {} end
  return {id, behind, length, added, generated, first}
end

-- Answers what is undelivered, or nil when the group is too far from the anchor to count the way; then the anchor is
-- moved towards it, and the second and third answer are bounds. The way is what the group was handed since the last
-- sample, so counting it costs little beside handing it out; it may be longer than what is counted blindly.
local function by_anchor(anchor)
  local behind = behind_anchor(anchor)
  if not behind then return nil, 0, length, {} end
  local far = 4 * cap
  if not less(last, anchor.id) then
    local way = redis.call('XRANGE', key, '(' .. anchor.id, last, 'COUNT', far + 1)
    if #way <= far then return behind - #way end
    local moved = far > 0 and anchor_at(way[far][1], behind - far, way[far + 1][1])
    return nil, 0, behind - (far + 1), moved or anchor_at(anchor.id, behind, way[1][1])
  end
  local way = redis.call('XREVRANGE', key, anchor.id, '(' .. last, 'COUNT', far + 1)
  if #way <= far then return behind + #way end
  local before = way[far + 1][1]
  return nil, behind + far + 1, length, anchor_at(before, behind + far, first_behind(before))
end

local function undelivered()
  if next_id == '' then return 0, 'tail' end
  if count('XREVRANGE', key, last, '-', 'COUNT', 1) == 0 then return length, 'head' end
  local least, most, moved = 0, length, {}
  if ARGV[6] then
    local exact
    exact, least, most, moved = by_anchor({
      id = ARGV[6], behind = tonumber(ARGV[7]), length = tonumber(ARGV[8]), added = tonumber(ARGV[9]),
      generated = ARGV[10], first = ARGV[11],
    })
    if exact then return exact, 'anchor' end
  end
  local right = count('XRANGE', key, '(' .. last, '+', 'COUNT', cap + 1)
  if right <= cap then return right, 'right' end
  local left = count('XREVRANGE', key, last, '-', 'COUNT', cap + 1)
  if left <= cap then return length - left, 'left' end
  -- Both sides hold more than cap. Redis's lag where it lies between the bounds, else by the share of time.
  least, most = math.max(least, cap + 1), math.min(most, length - (cap + 1))
  local estimate = found['lag']
  if not estimate or estimate < least or estimate > most then
    local function ms(id) return tonumber(string.match(id, '^(%d+)')) end
    local first_ms, last_ms = ms(stream['first-entry'][1]), ms(stream['last-entry'][1])
    local share = last_ms > first_ms and (last_ms - ms(last)) / (last_ms - first_ms) or 0.5
    estimate = math.floor(length * share)
  end
  return math.max(least, math.min(most, estimate)), 'estimated', moved
end

local pending = found['pending']
local deep = pending > 0 and (pending <= SHORT or look_deep)
local limit = math.max(cap, SHORT)

-- Above the first entry and above every deleted id, whatever was delivered is still there.
local function is_gone(id)
  if length == 0 then return true end
  return (less(id, stream['first-entry'][1]) or not less(deleted, id)) and not exists(id)
end

local function new_share()
  return {poison = 0, stalled = 0, oldest = 0}
end
local function note(share, kind, idle)
  if kind then share[kind] = share[kind] + 1 end
  if kind ~= 'poison' then share.oldest = math.max(share.oldest, idle) end
end

-- Every pending entry, up to the limit, one by one.
local function look()
  local seen = {ghosts = 0, overlap = 0, all = new_share(), shares = {}, exact = pending <= limit and 1 or 0}
  for _, entry in ipairs(redis.call('XPENDING', key, group, '-', '+', limit)) do
    local id, owner, idle, deliveries = entry[1], entry[2], entry[3], entry[4]
    local share = seen.shares[owner] or new_share()
    seen.shares[owner] = share
    if is_gone(id) then
      seen.ghosts = seen.ghosts + 1
    elseif less(last, id) then
      seen.overlap = seen.overlap + 1
    else
      local waits = idle >= claim_min_idle
      local spent = max_deliveries > 0 and (deliveries > max_deliveries or (deliveries == max_deliveries and waits))
      local kind = spent and 'poison' or (waits and 'stalled' or nil)
      note(share, kind, idle)
      note(seen.all, kind, idle)
    end
  end
  return seen
end

-- Pending entries that are gone from the stream, and those that will be delivered once more because the group was set
-- back, without looking at the rest. What is not proven is left in, so that no work is hidden.
local function corrections()
  local exact, ghosts, overlap = 1, 0, 0
  if length == 0 then return pending, 0, 1 end
  local first = stream['first-entry'][1]
  local lowest = redis.call('XPENDING', key, group, '-', '+', 1)[1][1]
  if less(lowest, first) or not less(deleted, lowest) then
    local upper = less(deleted, first) and first or deleted
    local suspects = redis.call('XPENDING', key, group, '-', upper, cap + 1)
    if #suspects > cap then exact = 0 end
    for i = 1, math.min(#suspects, cap) do
      if is_gone(suspects[i][1]) then ghosts = ghosts + 1 end
    end
  end
  if last ~= LAST_ID then
    local again = redis.call('XPENDING', key, group, '(' .. last, '+', cap + 1)
    if #again > cap then exact = 0 end
    for i = 1, math.min(#again, cap) do
      if not is_gone(again[i][1]) then overlap = overlap + 1 end
    end
  end
  return ghosts, overlap, exact
end

local function consumers(seen)
  local told = {}
  if pending == 0 or found['consumers'] > CONSUMERS_READ then return told end
  for _, entry in ipairs(redis.call('XPENDING', key, group)[4]) do
    if #told == CONSUMERS_TOLD then break end
    local share = seen and (seen.shares[entry[1]] or new_share())
    local detail = share and {share.poison, share.stalled, share.oldest} or {}
    told[#told + 1] = {entry[1], tonumber(entry[2]), detail}
  end
  return told
end

local waiting, source, moved = undelivered()
local seen = deep and look() or nil
local ghosts, overlap, exact = 0, 0, 1
if seen and seen.exact == 1 then
  ghosts, overlap = seen.ghosts, seen.overlap
elseif pending > 0 then
  ghosts, overlap, exact = corrections()
end
local detail = {}
if pending == 0 then
  detail = {0, 0, 0, 1}
elseif seen then
  detail = {seen.all.poison, seen.all.stalled, seen.all.oldest, seen.exact}
end
return {
  'known', waiting, source, pending, ghosts, overlap, exact, detail, consumers(seen),
  length, last, generated, added, found['lag'] or -1, moved or anchor_at(last, waiting, next_id),
}
