package redisactor

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// publishScript publishes messages of one hub. It needs Redis 5, where scripts are replicated by what they do.
//
// KEYS[1] is the hub's meta, a hash: e the epoch, n the last position, r the run id of the server that gave it, c where the log stood when,
// newest first, for as long as a stream may live. The others are streams and keys of idempotency, as the messages refer to them.
// ARGV: an epoch in case a new one is needed, how long a key of idempotency lives, how long a stream lives at least (both in ms); then for
// each message three: its stream and key by number (0: no key), which a channel and History as in the header follow, or nothing if all that
// is as before; the end of its header; and its payload.
//
// What Redis is given are texts: to make one of a number is most of what a message costs there.
//
// It returns lines, as one text: the epoch, and for each message its position; "d" and that of the one with the same key; or "e" and an error.
// The first write is the one that fails if nothing can be written; then nothing has happened. After that nothing raises an error.
const publishScript = `
local function text(n) return string.format('%d', n) end
local meta = redis.call('HMGET', KEYS[1], 'e', 'n', 'r', 'c')
local epoch, n, run, marks = meta[1], tonumber(meta[2]) or 0, meta[3] or '', meta[4] or ''
local info = redis.pcall('INFO', 'server')
local id = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or run
if not epoch or id ~= run then epoch, run, marks = ARGV[1], id, '' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local span = tonumber(ARGV[3])
local newest = tonumber(string.match(marks, '^%d+') or '')
if not newest or now - newest >= span / 8 then
  local list = {text(now) .. ' ' .. text(n)}
  for mark in string.gmatch(marks, '%d+ %d+') do
    if #list < 12 then list[#list + 1] = mark end
  end
  marks = table.concat(list, ' ')
end
redis.call('HSET', KEYS[1], 'e', epoch, 'n', text(n), 'r', run, 'c', marks)
local out, last, sizes, ages, longest = {epoch}, {}, {}, {}, span
local before = epoch .. ' '
local limits = {}
local function trim(key) redis.pcall('XTRIM', key, 'MAXLEN', limits[key]) end

-- The messages in a row of one channel are published together. If that fails they have not been.
local key, once, channel, bounds, messages, bytes, age, most, middle
local group, size, first, origin, sum = {}, 0, 0, nil, nil
local function flush()
  if #group == 0 then return end
  local r = redis.pcall('PUBLISH', channel, '\0wskit1 ' .. table.concat(group))
  local fault = type(r) == 'table' and r.err
  if fault then
    for i = first, first + #group - 1 do
      redis.pcall('XDEL', key, out[i])
      out[i] = 'e ' .. fault
    end
    last[key], sizes[key] = origin, sum
  end
  group, size = {}, 0
  return fault
end

local place, i, ends = 1, 4, #ARGV
while i <= ends do
  local of = ARGV[i]
  if of ~= '' then
    flush()
    local k, o = string.match(of, '^(%d+) (%d+)$')
    key, once, channel, bounds = KEYS[tonumber(k)], KEYS[tonumber(o)], ARGV[i + 1], ARGV[i + 2]
    most, bytes, age = string.match(bounds, '^(%d+) (%d+) (%d+)$')
    messages, bytes, age = tonumber(most), tonumber(bytes), tonumber(age)
    if messages == 0 then most = '1' end
    middle = ' ' .. text(now) .. ' ' .. bounds .. ' '
    i = i + 2
  end
  local tail, payload = ARGV[i + 1], ARGV[i + 2]
  place, i = place + 1, i + 3
  local fault, twin
  if not last[key] then
    local r = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', '1')
    if r.err then
      fault = r.err
    else
      local p, had = '0', nil
      if r[1] then
        p = string.match(r[1][1], '^%d+')
        if tonumber(p) > n then n = tonumber(p) end
        local by
        by, had = string.match(r[1][2][2] or '', '^(%S+) %d+ %d+ %d+ %d+ %d+ %d+ (%d+) ')
        if by ~= epoch then p = '0' end
      end
      last[key], sizes[key] = p, tonumber(had) or 0
    end
  end
  if once and not fault then
    local r = redis.pcall('SET', once, epoch .. '.' .. text(n + 1), 'PX', ARGV[2], 'NX')
    if not r then
      r = redis.pcall('GET', once)
      if type(r) == 'string' then twin = r else fault = r and r.err or 'ERR the key has gone' end
    elseif r.err then
      fault = r.err
    end
  end
  if twin then
    out[place] = 'd ' .. twin
  elseif not fault then
    n = n + 1
    local at, before_it, had = text(n), last[key], sizes[key]
    local has = messages > 0 and had + #payload or had
    local whole = before .. at .. ' ' .. before_it .. middle .. has .. tail .. payload
    if limits[key] and limits[key] ~= most then trim(key) end
    local r = redis.pcall('XADD', key, at, 'm', messages > 0 and whole or string.sub(whole, 1, -1 - #payload))
    if type(r) == 'table' and r.err then
      fault = r.err
    else
      if #group == 0 then first, origin, sum = place, before_it, had end
      group[place - first + 1], size = whole, size + #whole
      out[place], last[key], sizes[key] = at, at, has
      ages[key], limits[key] = age > span and age or span, most
      if age > longest then longest = age end
      local full = messages > 0 and #payload * messages > bytes
      if once or full or size > 32768 then fault = flush() end
      if full and not fault then
        trim(key)
        for _ = 2, messages do
          local r = redis.pcall('XRANGE', key, '-', '+', 'COUNT', '1')
          if not r[1] or r[1][1] == at .. '-0' then break end
          local upto, flags, len = string.match(r[1][2][2] or '', '^%S+ %d+ %d+ %d+ %d+ %d+ %d+ (%d+) %S+ (%S+) (%d+)\n')
          if not string.find(flags or 'n', 'n') and has - tonumber(upto) + tonumber(len) <= bytes then break end
          redis.pcall('XDEL', key, r[1][1])
        end
      end
    end
    if fault and once then redis.pcall('DEL', once) end
  end
  if fault then
    flush()
    out[place] = 'e ' .. fault
  end
end
flush()
redis.pcall('HSET', KEYS[1], 'n', text(n))
for key, age in pairs(ages) do
  trim(key)
  redis.pcall('PEXPIRE', key, text(age))
end
local left = redis.pcall('PTTL', KEYS[1])
if type(left) == 'number' and left < longest + 86400000 then redis.pcall('PEXPIRE', KEYS[1], text(longest + 86400000)) end
return table.concat(out, '\n')
`

var publishSHA = func() string {
	sum := sha1.Sum([]byte(publishScript))
	return hex.EncodeToString(sum[:])
}()

// keys are the names of what Redis keeps of a hub with history: all in one hash slot.
type keys struct{ meta, channel string }

func keysOf(channel string) keys { return keys{"{wskit:" + channel + "}", channel} }

// stream is the name of a topic's.
func (k keys) stream(topic string) string {
	return k.meta + ":t:" + topicChannel(k.channel, topic)[len(k.channel):]
}

// once is the name of a key of idempotency.
func (k keys) once(key string) string { return k.meta + ":k:" + key }

// script is one call: messages of one hub, in order.
type script struct {
	list  []*publication
	args  []any // behind the first two, which are EVALSHA and the SHA, or EVAL and the script
	reply []taken
}

// taken is what the script said of a message.
type taken struct {
	at   actors.Position
	twin bool  // it is the position of another with the same key, and this one was not published
	err  error // it was not published either
}

// newCall prepares the call. That of no messages has the log begin.
func newCall(h *history, list []*publication) *script {
	numbers := map[string]int{h.meta: 1}
	names := []any{h.meta}
	number := func(name string) int {
		n, ok := numbers[name]
		if !ok {
			names = append(names, name)
			n = len(names)
			numbers[name] = n
		}
		return n
	}
	of := make([]string, len(list)) // "": as the one before
	for i, p := range list {
		if i > 0 && p.key == "" && list[i-1].key == "" && p.topic == list[i-1].topic && p.keep == list[i-1].keep {
			continue
		}
		once := 0
		if p.key != "" {
			once = number(h.once(p.key))
		}
		of[i] = strconv.Itoa(number(h.stream(p.topic))) + " " + strconv.Itoa(once)
	}
	args := make([]any, 2, 6+len(names)+3*len(list))
	args = append(append(args, len(names)), names...)
	args = append(args, actors.NewEpoch(), actors.KeyLifetime.Milliseconds(), max(h.span.Milliseconds(), 1))
	for i, p := range list {
		args = append(args, of[i])
		if of[i] != "" {
			args = append(args, topicChannel(h.channel, p.topic), boundsOf(p.keep))
		}
		tail := " " + p.tag + " " + flags(p.frame.Binary(), p.keep.Messages == 0) + " " + strconv.Itoa(p.frame.Len()) + "\n"
		args = append(args, tail, p.frame.Payload())
	}
	return &script{list: list, args: args}
}

// boundsOf is what a header says of how much is kept.
func boundsOf(h actors.History) string {
	age := min(max(h.Age.Milliseconds(), 1), maxMillis)
	return fmt.Sprintf("%d %d %d", min(h.Messages, maxCount), min(h.Bytes, maxCount), age)
}

// command is the call, with the script itself if Redis does not have it.
func (s *script) command(ctx context.Context, whole bool) *redis.Cmd {
	args := s.args
	if args[0], args[1] = "evalsha", publishSHA; whole {
		args = slices.Clone(args) // a hook may have kept the others
		args[0], args[1] = "eval", publishScript
	}
	return redis.NewCmd(ctx, args...)
}

var errReply = errors.New("wskit: redis answered a script with what it does not return")

// read takes the answer.
func (s *script) read(v any) error {
	text, _ := v.(string)
	lines := strings.Split(text, "\n")
	if len(lines) != 1+len(s.list) {
		return errReply
	}
	first, known := actors.ParsePosition(lines[0] + ".0")
	reply := make([]taken, len(s.list))
	for i, line := range lines[1:] {
		r, ok := &reply[i], true
		if text, twin := strings.CutPrefix(line, "d "); twin {
			r.at, ok = actors.ParsePosition(text)
			r.twin = true
		} else if text, failed := strings.CutPrefix(line, "e "); failed {
			r.err = refusedError(text)
		} else {
			n, err := strconv.ParseUint(line, 10, 64)
			r.at.Epoch, r.at.N, ok = first.Epoch, n, known && err == nil
		}
		if !ok {
			return errReply
		}
	}
	s.reply = reply
	return nil
}

// refusedError is what Redis said of one message of a script.
type refusedError string

func (e refusedError) Error() string { return string(e) }
func (refusedError) RedisError()     {}

// horizon is the position up to which streams may have expired, if they live for span and the log stands at n. marks are what the meta keeps:
// times, in milliseconds, and positions.
func horizon(marks string, now time.Time, span time.Duration, n uint64) uint64 {
	for marks != "" {
		var ms int64
		var at uint64
		if _, err := fmt.Sscanf(marks, "%d %d", &ms, &at); err != nil || now.Sub(time.UnixMilli(ms)) >= span {
			break
		}
		n = min(n, at)
		marks = skip(skip(marks))
	}
	return n
}

// skip is s without its first word.
func skip(s string) string {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[i+1:]
		}
	}
	return ""
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
