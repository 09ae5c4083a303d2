package graphtest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Limits are what one app may do. A zero field is the published number.
type Limits struct {
	Concurrent   int           // requests at once per mailbox: 4
	Requests     int           // per mailbox and Window: 10,000
	Window       time.Duration // 10 minutes
	Upload       int64         // bytes of POST, PATCH and PUT per mailbox and UploadWindow: 150 MB
	UploadWindow time.Duration // 5 minutes
	All          int           // requests per AllWindow to all mailboxes: 130,000
	AllWindow    time.Duration // 10 seconds
}

// withDefaults fills in the numbers of https://learn.microsoft.com/graph/throttling-limits.
func (l Limits) withDefaults() Limits {
	or(&l.Concurrent, 4)
	or(&l.Requests, 10_000)
	or(&l.Window, 10*time.Minute)
	or(&l.Upload, 150_000_000)
	or(&l.UploadWindow, 5*time.Minute)
	or(&l.All, 130_000)
	or(&l.AllWindow, 10*time.Second)
	return l
}

func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// RetryAfter says how a throttled answer tells when to come back.
type RetryAfter int

const (
	WholeSeconds RetryAfter = iota // rounded up
	Fractional                     // in thousandths, as the service sometimes does
	Absent                         // no header
)

func (f RetryAfter) header(d time.Duration) string {
	switch f {
	case Absent:
		return ""
	case Fractional:
		return strconv.FormatFloat(float64((d+time.Millisecond-1)/time.Millisecond)/1000, 'f', 3, 64)
	}
	return strconv.FormatInt(int64(max((d+time.Second-1)/time.Second, 1)), 10)
}

// entry is something that counts against a window from the moment at.
type entry struct {
	at time.Time
	n  int64
}

// window is a sliding window over what happened.
type window struct {
	length  time.Duration
	limit   int64
	entries []*entry
	used    int64
}

func (w *window) trim(now time.Time) {
	i := 0
	for i < len(w.entries) && now.Sub(w.entries[i].at) >= w.length {
		w.used -= w.entries[i].n
		i++
	}
	w.entries = w.entries[i:]
}

func (w *window) add(now time.Time, n int64) *entry {
	e := &entry{now, n}
	w.entries = append(w.entries, e)
	w.used += n
	return e
}

// wait returns how long until n more fit; 0 when they fit now.
func (w *window) wait(now time.Time, n int64) time.Duration {
	over := w.used + n - w.limit
	for _, e := range w.entries {
		if over <= 0 {
			break
		}
		if over -= e.n; over <= 0 {
			return e.at.Add(w.length).Sub(now)
		}
	}
	return 0
}

// lane is one app's traffic to one mailbox.
type lane struct {
	running, peak int
	requests      window
	upload        window
}

type laneKey struct{ app, mailbox string }

// meter enforces the limits.
type meter struct {
	clock  clockwork.Clock
	limits Limits
	format RetryAfter

	mu    sync.Mutex
	apps  map[string]*window
	lanes map[laneKey]*lane
}

func newMeter(c clockwork.Clock, l Limits, f RetryAfter) *meter {
	return &meter{clock: c, limits: l.withDefaults(), format: f, apps: map[string]*window{}, lanes: map[laneKey]*lane{}}
}

func (m *meter) lane(k laneKey) *lane {
	l, ok := m.lanes[k]
	if !ok {
		l = &lane{requests: window{length: m.limits.Window, limit: int64(m.limits.Requests)},
			upload: window{length: m.limits.UploadWindow, limit: m.limits.Upload}}
		m.lanes[k] = l
	}
	return l
}

// admitApp counts a request of an app, whatever it is for.
func (m *meter) admitApp(app string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, ok := m.apps[app]
	if !ok {
		w = &window{length: m.limits.AllWindow, limit: int64(m.limits.All)}
		m.apps[app] = w
	}
	now := m.clock.Now()
	w.trim(now)
	wait := w.wait(now, 1)
	w.add(now, 1)
	if wait > 0 {
		return m.throttled("TooManyRequests", "Please retry again later.", wait)
	}
	return nil
}

// admit lets a request to a mailbox in, or says why not. Refused requests count as requests. The caller calls leave,
// whatever the answer.
func (m *meter) admit(k laneKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, now := m.lane(k), m.clock.Now()
	l.running++
	l.peak = max(l.peak, l.running)
	l.requests.trim(now)
	wait := l.requests.wait(now, 1)
	l.requests.add(now, 1)
	switch {
	case l.running > m.limits.Concurrent:
		return m.over("MailboxConcurrency", time.Second)
	case wait > 0:
		return m.over("MailboxRequests", wait)
	}
	return nil
}

// refused counts a request to a mailbox that was not let in for other reasons than the limits.
func (m *meter) refused(k laneKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, now := &m.lane(k).requests, m.clock.Now()
	w.trim(now)
	w.add(now, 1)
}

func (m *meter) leave(k laneKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lane(k).running--
}

func (m *meter) peak(mailbox string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := 0
	for k, l := range m.lanes {
		if k.mailbox == mailbox {
			p = max(p, l.peak)
		}
	}
	return p
}

// upload reserves n bytes of a mailbox's upload window, or says when they will fit.
func (m *meter) upload(k laneKey, n int64) (*entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, now := &m.lane(k).upload, m.clock.Now()
	w.trim(now)
	if wait := w.wait(now, n); wait > 0 {
		return nil, m.over("IncomingBytes", wait)
	}
	return w.add(now, n), nil
}

// correct sets a reservation to what really came.
func (m *meter) correct(k laneKey, e *entry, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := &m.lane(k).upload
	w.trim(m.clock.Now())
	for _, have := range w.entries {
		if have == e {
			w.used += n - e.n
			e.n = n
		}
	}
}

func (m *meter) over(limit string, wait time.Duration) error {
	return m.throttled("ApplicationThrottled", fmt.Sprintf("Application is over its %s limit.", limit), wait)
}

func (m *meter) throttled(code, message string, wait time.Duration) error {
	return &refusal{status: http.StatusTooManyRequests, code: code, message: message, retryAfter: m.format.header(wait)}
}
