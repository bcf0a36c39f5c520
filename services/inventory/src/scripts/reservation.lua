-- Shared head of reserve, release and commit.
-- KEYS: 1 the order's reservation, 2 the event stream, 3 the stream of what payments tells, then product and stock of each
-- line in turn.
-- ARGV: 1 order id, 2 event id, 3 time, 4 traceparent, 5 request id, 6 id of the entry that asks, then what the script
-- itself says.
-- Every text that is put into JSON here is an id, a time or a fixed word: none needs escaping. Numbers are written with
-- %.0f, because cjson would turn 9007199254740993 into 9.007e+15. Documents are never decoded and stored again.
local FIRST_LINE = 4

local function order_only()
  return '{"order_id":"' .. ARGV[1] .. '"}'
end

local function tell(kind, data)
  redis.call('XADD', KEYS[2], '*', 'id', ARGV[2], 'type', kind, 'subject', ARGV[1], 'time', ARGV[3],
    'traceparent', ARGV[4], 'request_id', ARGV[5], 'data', data)
end

local function product_key(line) return KEYS[FIRST_LINE + 2 * (line - 1)] end
local function stock_key(line) return KEYS[FIRST_LINE + 2 * (line - 1) + 1] end
local function line_count() return (#KEYS - FIRST_LINE + 1) / 2 end

local function state_of()
  if redis.call('EXISTS', KEYS[1]) == 0 then return 'none' end
  return cjson.decode(redis.call('JSON.GET', KEYS[1], '.state'))
end

local function record(state, lines, extra)
  redis.call('JSON.SET', KEYS[1], '$', '{"order_id":"' .. ARGV[1] .. '","state":"' .. state .. '","lines":' .. lines
    .. extra .. ',"created_at":"' .. ARGV[3] .. '","updated_at":"' .. ARGV[3] .. '"}')
end

local function advance(state)
  redis.call('JSON.MERGE', KEYS[1], '$', '{"state":"' .. state .. '","updated_at":"' .. ARGV[3] .. '"}')
end

-- Quantities that the reservation holds, or nil when the caller declared other lines than it has.
local function held_quantities()
  local lines = cjson.decode(redis.call('JSON.GET', KEYS[1], '.lines'))
  if #lines ~= line_count() then return nil end
  local quantities = {}
  for line = 1, #lines do quantities[line] = lines[line].quantity end
  return quantities
end

local function available(line)
  local stock = redis.call('HMGET', stock_key(line), 'on_hand', 'reserved')
  return tonumber(stock[1] or '0') - tonumber(stock[2] or '0')
end

local function set_in_stock(line, in_stock)
  -- JSON.MERGE on nothing would create a document that is no product.
  if redis.call('EXISTS', product_key(line)) == 0 then return end
  redis.call('JSON.MERGE', product_key(line), '$', '{"in_stock":' .. tostring(in_stock) .. '}')
end

local function tell_reserved()
  local lines = redis.call('JSON.GET', KEYS[1], '.lines')
  tell('stock.reserved', '{"order_id":"' .. ARGV[1] .. '","lines":' .. lines .. '}')
  return 'stock.reserved'
end

local function tell_rejected()
  local reason = redis.call('JSON.GET', KEYS[1], '.reason')
  local product = redis.call('JSON.GET', KEYS[1], '.product_id')
  tell('stock.rejected', '{"order_id":"' .. ARGV[1] .. '","reason":' .. reason .. ',"product_id":' .. product .. '}')
  return 'stock.rejected'
end

local function tell_only(kind)
  tell(kind, order_only())
  return kind
end

-- A Redis that crashed may have lost what payments told, and the change of the order that it told of, after somebody had
-- read it. Nothing follows from an entry that is not there.
if #redis.call('XRANGE', KEYS[3], ARGV[6], ARGV[6]) == 0 then return {'lost', 0, 0} end
