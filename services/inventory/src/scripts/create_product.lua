-- KEYS: 1 product, 2 stock, 3 catalogue stream.
-- ARGV: 1 product id, 2 event id, 3 time, 4 traceparent, 5 request id, 6 document, 7 stock.
-- Answers 1, or 0 when the id is there already: the same request, sent again after its answer was lost.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('JSON.SET', KEYS[1], '$', ARGV[6])
redis.call('HSET', KEYS[2], 'on_hand', ARGV[7], 'reserved', '0')
redis.call('XADD', KEYS[3], 'MINID', '~', kept_from(), '*', 'id', ARGV[2], 'type', 'product.created',
  'subject', ARGV[1], 'time', ARGV[3], 'traceparent', ARGV[4], 'request_id', ARGV[5], 'data', ARGV[6])
return 1
