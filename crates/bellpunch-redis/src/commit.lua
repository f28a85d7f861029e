-- Applies commits, each whole or not at all, in order.
--
-- Versions and times are digits of one width and are compared as strings: numbers here are doubles.
-- Redis takes nothing back, so a commit reads and tests everything before its first write. That
-- write may still be refused (no memory, a replica, an append-only file that cannot be written): then
-- nothing of this commit was done, and Redis refuses none after it within the same script.
--
-- KEYS: the list of partitions where ARGV[3] is '1'; then for each commit its id, the partition's
--   index, the partition's floors, and the records.
-- ARGV: [1] the time in tests; [2] for how many milliseconds ids are remembered; [3] see above;
--   [4] how many commits; then for each commit
--     [1] records  [2] kinds  [3] writes  [4] deadline or ''  [5] now  [6] now less the skew
--     [7] length of what comes before a record's member in its key  [8] partition
--     [9] the place of each record's kind, four digits each
--     then kinds, the version of each record or '', and for each write a record's place and content.
local FIXED, HEADER = 9, 72
local FORMAT, CONTENT = 49, 86
local NO_FLOOR = string.rep('0', 41)
local byte, sub = string.byte, string.sub

-- On 6.2 a script that reads the clock must replicate what it does, not itself; later it always does.
if redis.replicate_commands then redis.replicate_commands() end

-- Read once: on some servers it goes on within a script, on others it stands.
local clock = redis.call('TIME')
local time = string.rep('0', 12 - #clock[1]) .. clock[1]
    .. string.rep('0', 6 - #clock[2]) .. clock[2] .. '000'
-- Here tests put their own.

local remember = ARGV[2]
local partitions = ARGV[3] == '1' and KEYS[1]

local function refused(reply)
    return type(reply) == 'table' and reply.err
end

local function higher(one, other)
    if one < other then return other end
    return one
end

local function commit(k, a)
    local records, kinds, writes = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
    local id, index, shelf = KEYS[k], KEYS[k + 1], KEYS[k + 2]
    local first_key, first_kind = k + 2, a + FIXED - 1
    local first_version = first_kind + kinds
    local first_write = first_version + records + 1
    local places = ARGV[a + 8]

    local found = redis.pcall('MGET', id, unpack(KEYS, first_key + 1, first_key + records))
    if refused(found) then return {'E', found.err} end
    if found[1] then
        -- A write, so that replicas which are waited for have this commit, too.
        local kept = redis.pcall('PEXPIRE', id, remember)
        if refused(kept) then return {'E', kept.err} end
        return {'C', found[1]}
    end

    local floors
    local function load_floors()
        if floors then return end
        floors = redis.pcall('HMGET', shelf, unpack(ARGV, first_kind + 1, first_kind + kinds))
    end
    local function place_of(i)
        return tonumber(sub(places, 4 * i - 3, 4 * i))
    end
    local function floor_of(i)
        return floors[place_of(i)] or NO_FLOOR
    end

    local conflict = {'X'}
    for i = 1, records do
        local raw = found[i + 1]
        local version, floor
        if raw then
            if #raw < HEADER or byte(raw) ~= FORMAT then return {'D', tostring(i)} end
            version = sub(raw, 2, 21)
        else
            version = '00000000000000000000'
        end
        if not raw or byte(raw, 64) ~= CONTENT then
            load_floors()
            if refused(floors) then return {'E', floors.err} end
            floor = floor_of(i)
            version = higher(version, sub(floor, 1, 20))
        end
        local expected = ARGV[first_version + i]
        if expected ~= '' and expected ~= version then
            conflict[#conflict + 1] = tostring(i)
            conflict[#conflict + 1] = raw or ''
            conflict[#conflict + 1] = floor or ''
        end
    end
    if 1 < #conflict then return conflict end

    local deadline = ARGV[a + 3]
    if deadline ~= '' and deadline <= time then return {'L', time} end
    if time < ARGV[a + 5] then
        local latest = ''
        for i = 1, records do
            local raw = found[i + 1]
            if raw then latest = higher(latest, sub(raw, 22, 42)) end
            if not raw or byte(raw, 64) ~= CONTENT then
                latest = higher(latest, sub(floor_of(i), 21, 41))
            end
        end
        if latest < ARGV[a + 4] then return {'A', time} end
    end
    if writes == 0 then
        -- Removes nothing, but a replica refuses it: what it would confirm may be old.
        local primary = redis.pcall('DEL', id)
        if refused(primary) then return {'E', primary.err} end
        return {'C', time}
    end

    local put, made, gone, gone_keys, raised = {}, {}, {}, {}, nil
    for j = 0, writes - 1 do
        local i = tonumber(ARGV[first_write + 2 * j])
        local value = ARGV[first_write + 2 * j + 1]
        local key = KEYS[first_key + i]
        if byte(value) == FORMAT then
            put[#put + 1] = key
            put[#put + 1] = value
            if not found[i + 1] then
                made[#made + 1] = '0'
                made[#made + 1] = sub(key, ARGV[a + 6] + 1)
            end
        else
            gone[#gone + 1] = sub(key, ARGV[a + 6] + 1)
            gone_keys[#gone_keys + 1] = key
            load_floors()
            if refused(floors) then return {'E', floors.err} end
            raised = raised or {}
            local place = place_of(i)
            local floor = raised[place] or floor_of(i)
            raised[place] = higher(sub(floor, 1, 20), sub(value, 2, 21))
                .. higher(sub(floor, 21, 41), sub(value, 22, 42))
        end
    end
    local unlisted
    if partitions and (0 < #made or raised) then
        local listed = redis.pcall('ZSCORE', partitions, ARGV[a + 7])
        if refused(listed) then return {'E', listed.err} end
        unlisted = not listed
    end

    -- Past here it succeeds, but for the first write.
    local written, refusal = false, nil
    local function write(...)
        if written then return redis.call(...) end
        local reply = redis.pcall(...)
        refusal = refused(reply)
        written = true
    end
    if 0 < #gone then
        -- First: what frees memory is not refused for the lack of it.
        write('ZREM', index, unpack(gone))
        if refusal then return {'E', refusal} end
        write('DEL', unpack(gone_keys))
    end
    if 0 < #made then
        write('ZADD', index, unpack(made))
        if refusal then return {'E', refusal} end
    end
    if 0 < #put then
        write('MSET', unpack(put))
        if refusal then return {'E', refusal} end
    end
    if raised then
        local fields = {}
        for place, floor in pairs(raised) do
            fields[#fields + 1] = ARGV[first_kind + place]
            fields[#fields + 1] = floor
        end
        write('HSET', shelf, unpack(fields))
    end
    if unlisted then write('ZADD', partitions, '0', ARGV[a + 7]) end
    write('SET', id, time, 'PX', remember)
    return {'C', time}
end

local results = {}
local k, a = partitions and 2 or 1, 5
for c = 1, tonumber(ARGV[4]) do
    results[c] = commit(k, a)
    local records = tonumber(ARGV[a])
    k = k + 3 + records
    a = a + FIXED + tonumber(ARGV[a + 1]) + records + 2 * tonumber(ARGV[a + 2])
end
return results
