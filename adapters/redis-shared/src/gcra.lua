-- Judges a request by several quotas, and counts it by all of them or, if one of them has too little left, by none.
--
-- KEYS: one for each quota. ARGV: for each quota, in nanoseconds, what one request takes, what a whole burst takes, and what this
-- request takes. Returns the present time (seconds, nanoseconds), then how far each holder is ahead of the steady pace with this
-- request: beyond the burst it is refused.
--
-- A value is the time at which nothing is left of what was used (seconds, nanoseconds), and what one request took then: with another
-- rate it stays as many requests as it was. Seconds and nanoseconds are apart because Lua's numbers have 53 bits. Time is this server's,
-- so that the clocks of replicas do not matter.
local time = redis.call('TIME')
local now_s, now_ns = tonumber(time[1]), tonumber(time[2]) * 1000
local answer, is_early = {now_s, now_ns}, false

for i, key in ipairs(KEYS) do
  local interval, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local value, used = redis.pcall('GET', key), 0
  if type(value) == 'string' then
    local s, ns, was = string.match(value, '^(%d+) (%d+) ([1-9]%d*)$')
    if s then
      used = math.max(0, (tonumber(s) - now_s) * 1e9 + (tonumber(ns) - now_ns))
      if tonumber(was) ~= interval then used = math.floor(used * interval / tonumber(was)) end
      -- More than a burst is used of none: with a smaller one, or after the clock went back, there is nothing left.
      used = math.min(used, burst)
    end
  end
  answer[i + 2] = used + cost
  is_early = is_early or used + cost > burst
end

if not is_early then
  for i, key in ipairs(KEYS) do
    local until_ns = now_ns + answer[i + 2]
    local value = string.format('%.0f %.0f %s', now_s + math.floor(until_ns / 1e9), until_ns % 1e9, ARGV[3 * i - 2])
    redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(answer[i + 2] / 1e6)))
  end
end
return answer
