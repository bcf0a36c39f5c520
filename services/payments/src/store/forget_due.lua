#!lua
-- Removes a due time whose order does not exist. KEYS: order, due times. ARGV: order id.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[1])
