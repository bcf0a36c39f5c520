-- Shared head of create_product and adjust_stock.
-- No group reads the catalogue's stream, so nobody trims it: each new entry lets go of those older than an hour, by id.
local RETENTION = 3600 * 1000

local function kept_from()
  local time = redis.call('TIME')
  return string.format('%.0f', tonumber(time[1]) * 1000 - RETENTION)
end

