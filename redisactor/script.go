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
// newest first, for as long as a stream may live. The others are streams and keys of idempotency, as the groups refer to them.
// ARGV: an epoch in case a new one is needed, how long a key of idempotency lives, how long a stream lives at least (both in ms); then for
// each group three: its stream and key by number (0: no key), which a channel and History as in the header follow, or nothing if all that
// is as before; the end of its header, size and count; and its messages.
//
// A group is all that Redis does for its messages: neither it nor this script looks into them. Texts as long as that are dear in a script, so
// one is made of each group, for the stream and for the channel.
//
// It returns lines, as one text: the epoch, and for each group the position of its last message; "d" and that of the one with the same key;
// or "e" and an error. The first write is the one that fails if nothing can be written; then nothing has happened. After that nothing raises
// an error, and of a group for which there is one nothing is left.
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

-- What is known of a stream: of its last entry, and of the last group that was added.
local logs = {}
local header = '^%z%w+ (%S+) %d+ %d+ %d+ ((%d+) %d+ %d+) (%d+) (%d+) (%d+) (%d+) '
local function open(key)
  local log = {last = '0', sum = 0, total = 0, mixed = 0}
  local r = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', '1')
  if r.err then return nil, r.err end
  if r[1] then
    log.last = string.match(r[1][1], '^%d+')
    n = math.max(n, tonumber(log.last))
    local by, bounds, _, sum, total, mixed = string.match(r[1][2][2] or '', header)
    log.bounds, log.sum, log.total, log.mixed = bounds, tonumber(sum) or 0, tonumber(total) or 0, tonumber(mixed) or 0
    if by ~= epoch then log.last = '0' end
  end
  logs[key] = log
  return log
end

-- As many entries as messages are never too few, and not too many either unless it is a mixture.
local function trim(key, log)
  local most = math.max(log.messages, 1)
  redis.pcall('XTRIM', key, 'MAXLEN', text(most))
  if log.total - log.mixed >= most then return end
  for _ = 2, most do
    local r = redis.pcall('XRANGE', key, '-', '+', 'COUNT', '1')
    if not r[1] or r[1][1] == log.last .. '-0' then return end
    local _, _, kept, sum, total, _, size = string.match(r[1][2][2] or '', header)
    if kept and kept ~= '0' and log.total - total < most and log.sum - sum + size <= log.bytes then return end
    redis.pcall('XDEL', key, r[1][1])
  end
end

local out, longest = {epoch}, span
local key, once, channel, bounds, messages, bytes, age
local i, ends = 4, #ARGV
while i <= ends do
  if ARGV[i] ~= '' then
    local k, o = string.match(ARGV[i], '^(%d+) (%d+)$')
    key, once, channel, bounds = KEYS[tonumber(k)], KEYS[tonumber(o)], ARGV[i + 1], ARGV[i + 2]
    messages, bytes, age = string.match(bounds, '^(%d+) (%d+) (%d+)$')
    messages, bytes, age = tonumber(messages), tonumber(bytes), tonumber(age)
    i = i + 2
  end
  local tail, body = ARGV[i + 1], ARGV[i + 2]
  local size, count = string.match(tail, '^(%d+) (%d+)$')
  size, count, i = tonumber(size), tonumber(count), i + 3
  local log, fault, twin = logs[key], nil, nil
  if not log then log, fault = open(key) end
  if once and not fault then
    local r = redis.pcall('SET', once, epoch .. '.' .. text(n + 1), 'PX', ARGV[2], 'NX')
    if not r then
      r = redis.pcall('GET', once)
      if type(r) == 'string' then twin = r else fault = r and r.err or 'ERR the key has gone' end
    elseif r.err then
      fault = r.err
    end
  end
  if not twin and not fault then
    n = n + count
    local at, total, sum = text(n), log.total + count, messages > 0 and log.sum + size or log.sum
    local mixed = (count > 1 or size * messages > bytes or bounds ~= log.bounds) and total or log.mixed
    local whole = '\0wskit1 ' .. epoch .. ' ' .. at .. ' ' .. log.last .. ' ' .. text(now) .. ' ' .. bounds .. ' ' .. text(sum) .. ' ' .. text(total) .. ' '
      .. text(mixed) .. ' ' .. tail .. '\n' .. body
    local r = redis.pcall('XADD', key, at, 'm', messages > 0 and whole or string.sub(whole, 1, -1 - size))
    fault = type(r) == 'table' and r.err
    if not fault then
      r = redis.pcall('PUBLISH', channel, whole)
      fault = type(r) == 'table' and r.err
      if fault then redis.pcall('XDEL', key, at) end
    end
    if not fault then
      out[#out + 1] = at
      log.last, log.sum, log.total, log.mixed = at, sum, total, mixed
      log.bounds, log.messages, log.bytes, log.age = bounds, messages, bytes, math.max(age, span)
      longest = math.max(longest, age)
    elseif once then
      redis.pcall('DEL', once)
    end
  end
  if twin then out[#out + 1] = 'd ' .. twin end
  if fault then out[#out + 1] = 'e ' .. fault end
end
redis.pcall('HSET', KEYS[1], 'n', text(n))
for key, log in pairs(logs) do
  if log.messages then
    trim(key, log)
    redis.pcall('PEXPIRE', key, text(log.age))
  end
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
	groups []int // how many messages each has
	args   []any // behind the first two, which are EVALSHA and the SHA, or EVAL and the script
	reply  []taken
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
	s := &script{}
	var args []any
	var before *publication
	for len(list) > 0 {
		p := list[0]
		n, size := groupOf(list)
		if p.follows(before) {
			args = append(args, "")
		} else {
			once := 0
			if p.key != "" {
				once = number(h.once(p.key))
			}
			of := strconv.Itoa(number(h.stream(p.topic))) + " " + strconv.Itoa(once)
			args = append(args, of, topicChannel(h.channel, p.topic), boundsOf(p.keep))
		}
		body := make([]byte, 0, size+n*(len(p.tag)+16))
		for _, p := range list[:n] {
			body = append(appendLine(body, p.tag, p.frame.Binary(), p.frame.Len()), p.frame.Payload()...)
		}
		args = append(args, strconv.Itoa(size)+" "+strconv.Itoa(n), body)
		s.groups = append(s.groups, n)
		before, list = p, list[n:]
	}
	s.args = append(make([]any, 2, 6+len(names)+len(args)), len(names))
	s.args = append(append(s.args, names...), actors.NewEpoch(), actors.KeyLifetime.Milliseconds(), max(h.span.Milliseconds(), 1))
	s.args = append(s.args, args...)
	return s
}

// groupOf is how many of the messages are one group, and how many bytes of payload they have. A stream loses a group as a whole, so it is a
// small part of what is kept.
func groupOf(list []*publication) (n, size int) {
	p := list[0]
	most, bytes := p.keep.Messages/4, min(p.keep.Bytes/8, maxGroupBytes)
	for n < len(list) && (n == 0 || n < most && size+list[n].frame.Len() <= bytes && list[n].follows(p)) {
		size += list[n].frame.Len()
		n++
	}
	return n, size
}

// follows reports whether a message goes where the one before it has gone; nil: there was none.
func (p *publication) follows(before *publication) bool {
	return before != nil && p.key == "" && before.key == "" && p.topic == before.topic && p.keep == before.keep
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
	first, rest, more := strings.Cut(text, "\n")
	begin, known := actors.ParsePosition(first + ".0")
	var reply []taken
	for _, count := range s.groups {
		if !more {
			return errReply
		}
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		var last taken
		ok := true
		if text, twin := strings.CutPrefix(line, "d "); twin {
			last.at, ok = actors.ParsePosition(text)
			last.twin = true
		} else if text, failed := strings.CutPrefix(line, "e "); failed {
			last.err = refusedError(text)
		} else {
			n, err := strconv.ParseUint(line, 10, 64)
			last.at, ok = actors.Position{Epoch: begin.Epoch, N: n}, known && err == nil && n >= uint64(count)
		}
		if !ok {
			return errReply
		}
		for i := range count {
			each := last
			if each.at.N > 0 {
				each.at.N -= uint64(count - 1 - i)
			}
			reply = append(reply, each)
		}
	}
	if more {
		return errReply
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
