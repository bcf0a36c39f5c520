#!lua
-- One call about one charge. KEYS: charge, faults, down. ARGV: charge | stop | lookup, amount, currency, decline above or ''.
-- Answers a state of the book (charged, declined, stopped), or what is no answer: busy, timeout, error, not_found, mismatch.
if redis.call('EXISTS', KEYS[3]) == 1 then return 'busy' end
local call = ARGV[1]
local amount, limit = tonumber(ARGV[2]), tonumber(ARGV[4])
if call == 'charge' and not amount then return redis.error_reply('CHARGE amount is no number') end
local fault = redis.call('LPOP', KEYS[2]) or ''
if fault == 'busy' then return 'busy' end

local book = redis.call('HMGET', KEYS[1], 'state', 'amount', 'currency')
local state = book[1]
if not state then
  if call == 'lookup' then return 'not_found' end
  if call == 'stop' then
    state = 'stopped'
    redis.call('HSET', KEYS[1], 'state', state)
  else
    state = 'charged'
    if fault == 'refused' or (limit and amount > limit) then state = 'declined' end
    -- Some providers store the failure of the first call under its key and repeat it for ever.
    if fault == 'stored_error' then state = 'error' end
    redis.call('HSET', KEYS[1], 'state', state, 'amount', ARGV[2], 'currency', ARGV[3])
    if state == 'charged' then redis.call('HINCRBY', KEYS[1], 'captured', ARGV[2]) end
  end
elseif call == 'stop' and state == 'error' then
  state = 'stopped'
  redis.call('HSET', KEYS[1], 'state', state)
elseif call == 'charge' and book[2] and (book[2] ~= ARGV[2] or book[3] ~= ARGV[3]) then
  return 'mismatch'
end
redis.call('HINCRBY', KEYS[1], 'calls', 1)
if fault == 'effect_then_timeout' then return 'timeout' end
return state
