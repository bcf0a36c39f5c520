#!lua
-- One refund. KEYS: refund, charge, faults, down. ARGV: amount.
-- Answers succeeded or failed, or what is no answer: busy, timeout, error.
if redis.call('EXISTS', KEYS[4]) == 1 then return 'busy' end
local amount = tonumber(ARGV[1])
if not amount then return redis.error_reply('REFUND amount is no number') end
local fault = redis.call('LPOP', KEYS[3]) or ''
if fault == 'busy' then return 'busy' end
if fault == 'stored_error' then return 'error' end

if redis.call('HGET', KEYS[1], 'state') ~= 'succeeded' then
  local charge = redis.call('HMGET', KEYS[2], 'captured', 'refunded')
  local captured, refunded = tonumber(charge[1] or 0), tonumber(charge[2] or 0)
  if refunded + amount > captured then return 'failed' end
  redis.call('HSET', KEYS[1], 'state', 'succeeded', 'amount', ARGV[1])
  redis.call('HINCRBY', KEYS[2], 'refunded', ARGV[1])
end
if fault == 'effect_then_timeout' then return 'timeout' end
return 'succeeded'
