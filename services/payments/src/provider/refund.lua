#!lua
-- One refund. KEYS: refund, charge, faults, down. ARGV: amount, or 'rest' for all that is left of the charge.
-- Answers a state of the book (succeeded, failed), or what is no answer: busy, timeout, error, mismatch.
if redis.call('EXISTS', KEYS[4]) == 1 then return 'busy' end
local asked = ARGV[1]
if asked ~= 'rest' and not tonumber(asked) then return redis.error_reply('REFUND amount is no number') end
local fault = redis.call('LPOP', KEYS[3]) or ''
if fault == 'busy' then return 'busy' end
if fault == 'stored_error' then return 'error' end

local book = redis.call('HMGET', KEYS[1], 'state', 'asked')
local state = book[1]
if not state then
  local charge = redis.call('HMGET', KEYS[2], 'captured', 'refunded')
  local captured, refunded = tonumber(charge[1] or 0), tonumber(charge[2] or 0)
  local left = captured - refunded
  local amount = asked == 'rest' and left or tonumber(asked)
  state = 'succeeded'
  if fault == 'refused' or amount > left or captured == 0 then state = 'failed' end
  local given = string.format('%.0f', amount)
  redis.call('HSET', KEYS[1], 'state', state, 'asked', asked, 'amount', given)
  if state == 'succeeded' then redis.call('HINCRBY', KEYS[2], 'refunded', given) end
elseif book[2] ~= asked then
  return 'mismatch'
end
redis.call('HINCRBY', KEYS[1], 'calls', 1)
if fault == 'effect_then_timeout' then return 'timeout' end
return state
