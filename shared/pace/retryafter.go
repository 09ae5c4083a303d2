package pace

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest caps a Retry-After: a day is more than any service asks for, and keeps a slip of the other side from
// stopping an account for ever.
const longest = 24 * time.Hour

// RetryAfter reads the Retry-After header: seconds, seconds with a fraction (Microsoft Graph sends "2.128"), or an
// HTTP date (RFC 9110 10.2.3). The moment is on the clock of now, at least now and at most a day later. It reports
// false when the header is absent or unreadable.
func RetryAfter(h http.Header, now time.Time) (time.Time, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return time.Time{}, false
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return afterSeconds(s, now)
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return time.Time{}, false
	}
	return now.Add(clamp(t.Sub(otherNow(h, now)))), true
}

// otherNow is the other side's clock, so that an HTTP date means the same span of time here.
func otherNow(h http.Header, now time.Time) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return now
}

func afterSeconds(s float64, now time.Time) (time.Time, bool) {
	if math.IsNaN(s) || s < 0 {
		return time.Time{}, false
	}
	if s >= longest.Seconds() {
		return now.Add(longest), true
	}
	return now.Add(time.Duration(s * float64(time.Second))), true
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), longest) }
