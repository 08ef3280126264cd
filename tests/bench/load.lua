-- What wrk sends. Arguments behind "--":
--   fixed PATH            one path, again and again
--   zipf COUNT SEED       ids of COUNT links, drawn by Zipf's law, exponent 1
--   uniform COUNT SEED    ids of COUNT links, all equally likely
--   once FIRST            ids from number FIRST on, each of them once
--   create SEED           POST /create, each with a URL of its own
--   put TABLE SEED        PutItem, straight to a DynamoDB endpoint
--   get TABLE COUNT SEED  GetItem, the same
-- The ids are those of links.py. The result is one line of JSON.

local MULTIPLIER = 715827883
local IDS = 62 ^ 7
local alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local letters = { alphabet:byte(1, -1) }

local function short_id(n)
    local x = n * MULTIPLIER % IDS
    local digits = {}
    for i = 1, 7 do
        local low = x % 62
        digits[i] = letters[low + 1]
        x = (x - low) / 62
    end
    return string.char(unpack(digits))
end

local function get(path)
    return "GET " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
end

local function post(path, fields, body)
    return "POST " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n" .. fields
        .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

local function dynamodb(operation, body)
    return post("/", "Content-Type: application/x-amz-json-1.0\r\n"
        .. "X-Amz-Target: DynamoDB_20120810." .. operation .. "\r\n"
        .. "X-Amz-Date: 20261101T000000Z\r\n"
        .. "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261101/"
        .. "eu-west-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, "
        .. "Signature=0000000000000000000000000000000000000000000000000000"
        .. "000000000000\r\n", body)
end

local modes = {}

function modes.fixed(path)
    local text = get(path)
    return function() return text end
end

function modes.zipf(count, seed)
    local scale = math.log(count + 1)
    math.randomseed(seed)
    return function()
        return get("/t/" .. short_id(
            math.floor(math.exp(math.random() * scale)) - 1))
    end
end

function modes.uniform(count, seed)
    math.randomseed(seed)
    return function()
        return get("/t/" .. short_id(math.random(0, count - 1)))
    end
end

function modes.once(first)
    local n = first - 1
    return function()
        n = n + 1
        return get("/t/" .. short_id(n))
    end
end

function modes.create(seed)
    local n = 0
    return function()
        n = n + 1
        return post("/create", "Content-Type: application/json\r\n",
            '{"long_url": "https://example.com/made/' .. seed .. "/" .. n
            .. '"}')
    end
end

function modes.put(name, seed)
    local n = 0
    return function()
        n = n + 1
        local id = "raw" .. seed .. "x" .. n
        return dynamodb("PutItem", '{"TableName":"' .. name
            .. '","ConditionExpression":"attribute_not_exists(short_id)",'
            .. '"Item":{"short_id":{"S":"' .. id
            .. '"},"long_url":{"S":"https://example.com/made/' .. id
            .. '"},"short_url":{"S":"http://127.0.0.1/t/' .. id
            .. '"},"created_at":{"S":"2018-11-29T00:05:02"},'
            .. '"ttl":{"N":"4102444800"},"hits":{"N":"0"},"analytics":{"M":'
            .. '{"user_agent":{"NULL":true},"source_ip":{"S":"127.0.0.1"},'
            .. '"xray_trace_id":{"S":"Root=1-00000000-000000000000000000000000"'
            .. "}}}}}")
    end
end

function modes.get(name, count, seed)
    math.randomseed(seed)
    return function()
        return dynamodb("GetItem", '{"TableName":"' .. name
            .. '","Key":{"short_id":{"S":"'
            .. short_id(math.random(0, count - 1)) .. '"}}}')
    end
end

local next_request

function init(args)
    local values = {}
    for i = 2, #args do
        values[#values + 1] = tonumber(args[i]) or args[i]
    end
    next_request = modes[args[1]](unpack(values))
end

function request()
    return next_request()
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '{"requests": %d, "us": %d, "p50": %d, "p99": %d, "p99.9": %d, '
        .. '"max": %d, "failed": %d, "refused": %d}\n',
        summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), latency:percentile(99.9), latency.max,
        e.connect + e.read + e.write + e.timeout, e.status))
end
