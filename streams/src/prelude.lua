-- What several scripts share; it stands before each of them.

-- Behind the largest id no entry can be, and Redis refuses to look.
local LAST_ID = '18446744073709551615-18446744073709551615'

-- Ids are compared as text: a Lua number holds no 64-bit integer. Without leading zeros the longer of two numbers is the
-- larger.
local function number_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return number_less(a_ms, b_ms) end
  return number_less(a_seq, b_seq)
end

local function to_map(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

-- The group as XINFO describes it, or nil.
local function find_group(key, name)
  for _, item in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = to_map(item)
    if group['name'] == name then return group end
  end
end

-- How many items a call answers.
local function count(...)
  return #redis.call(...)
end
