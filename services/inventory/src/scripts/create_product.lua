-- ARGV: 8 document, 9 stock. Answers nothing, or the record of the same request, sent before.
local record = earlier()
if record then return record end
redis.call('JSON.SET', KEYS[1], '$', ARGV[8])
redis.call('HSET', KEYS[2], 'on_hand', ARGV[9], 'reserved', '0', 'received', ARGV[9])
redis.call('XADD', KEYS[3], 'MINID', '~', kept_from(), '*', 'id', ARGV[2], 'type', 'product.created',
  'subject', ARGV[1], 'time', ARGV[3], 'traceparent', ARGV[4], 'request_id', ARGV[5], 'data', ARGV[8])
remember(ARGV[6])
return false
