#!lua
-- Takes what is due by the clock of Redis, and leases it: pushed forward, so that other sweepers leave it alone, and that
-- it comes again should this one die. KEYS: due times. ARGV: lease in milliseconds, most ids.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[2])
local lease = string.format('%.0f', now + tonumber(ARGV[1]))
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], 'XX', lease, id)
end
return ids
