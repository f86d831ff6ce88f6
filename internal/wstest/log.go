package wstest

import (
	"context"
	"log/slog"
	"slices"
)

// LogRecord is one line of a log.
type LogRecord struct {
	Level slog.Level
	Text  string
	Attrs map[string]any // the logger's own too
}

// LogRecorder is a slog.Handler that keeps what it is given, whatever the level. The zero LogRecorder is empty.
type LogRecorder struct{ List[LogRecord] }

// Logger is a logger that writes to the recorder.
func (l *LogRecorder) Logger() *slog.Logger { return slog.New(l) }

// Find is the records with this text.
func (l *LogRecorder) Find(text string) []LogRecord {
	return slices.DeleteFunc(l.All(), func(r LogRecord) bool { return r.Text != text })
}

// Crashes is the records of crashes of op.
func (l *LogRecorder) Crashes(op string) []LogRecord {
	return slices.DeleteFunc(l.Find("wskit: crash"), func(r LogRecord) bool { return r.Attrs["op"] != op })
}

// Enabled implements slog.Handler.
func (*LogRecorder) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *LogRecorder) Handle(_ context.Context, r slog.Record) error { return l.record(r, nil) }

// WithAttrs implements slog.Handler.
func (l *LogRecorder) WithAttrs(attrs []slog.Attr) slog.Handler { return &logWith{l, attrs} }

// WithGroup implements slog.Handler; groups are not kept apart.
func (l *LogRecorder) WithGroup(string) slog.Handler { return l }

func (l *LogRecorder) record(r slog.Record, with []slog.Attr) error {
	attrs := map[string]any{}
	for _, a := range with {
		attrs[a.Key] = a.Value.Any()
	}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	l.Add(LogRecord{r.Level, r.Message, attrs})
	return nil
}

// logWith is a recorder with attributes of a logger.
type logWith struct {
	*LogRecorder
	attrs []slog.Attr
}

func (l *logWith) Handle(_ context.Context, r slog.Record) error { return l.record(r, l.attrs) }

func (l *logWith) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logWith{l.LogRecorder, slices.Concat(l.attrs, attrs)}
}

func (l *logWith) WithGroup(string) slog.Handler { return l }
