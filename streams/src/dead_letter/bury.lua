-- Moves one pending entry of `owner` to the dead letters and acknowledges it. Answers 1, or 0 when the entry was deleted
-- from the stream and was only let go.
local function bury(key, dead, group, owner, id, idle, count, reason)
  -- Proves the right to acknowledge before anything is written, else there would be a new copy at every attempt.
  redis.call('XACK', key, group, '0-0')
  -- A claim by the owner itself, with idle time and count as they are: it gives the body also to those who may not read
  -- the stream otherwise.
  local claimed = redis.call('XCLAIM', key, group, owner, 0, id, 'IDLE', idle, 'RETRYCOUNT', count)
  if not claimed[1] then return 0 end
  -- A script's call takes 8,000 arguments at most.
  local fields = claimed[1][2]
  if #fields > 7000 then fields = {'dead-letter.packed', cmsgpack.pack(fields)} end
  redis.call('XADD', dead, '*', 'dead-letter.reason', reason, 'dead-letter.id', id, 'dead-letter.deliveries', count,
    'dead-letter.consumer', owner, unpack(fields))
  redis.call('XACK', key, group, id)
  return 1
end
