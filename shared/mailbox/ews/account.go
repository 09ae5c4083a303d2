package ews

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/pace"
)

// throttledBy names the limit in mailbox.Throttled.
const throttledBy = "ews account"

// Exchange may leave out BackOffMilliseconds; then the account is left alone for ten seconds, twice as long each
// time until a request succeeds, at most five minutes (EwsMaxBurst).
const (
	firstBackOff   = 10 * time.Second
	longestBackOff = 5 * time.Minute
	mostBackOff    = 24 * time.Hour // of what Exchange asks for
)

// account is a service account with what all its sources share.
type account struct {
	login.Account
	slots   *pace.Slots
	fence   pace.Fence
	strikes atomic.Int32 // back-offs without a time since the last success
	clock   clockwork.Clock
}

// throttled raises the fence after an ErrorServerBusy. Sending on would prolong the recovery.
func (a *account) throttled(backOffMilliseconds string) *mailbox.Throttled {
	ms, err := strconv.ParseInt(backOffMilliseconds, 10, 64)
	if err != nil || ms <= 0 {
		return a.raise(a.clock.Now().Add(a.guess()))
	}
	ms = min(ms, mostBackOff.Milliseconds())
	return a.raise(a.clock.Now().Add(time.Duration(ms) * time.Millisecond))
}

func (a *account) raise(until time.Time) *mailbox.Throttled {
	a.fence.Raise(until, throttledBy)
	until, by := a.fence.Until()
	return &mailbox.Throttled{Until: until, By: by}
}

func (a *account) guess() time.Duration {
	return min(firstBackOff<<min(a.strikes.Add(1)-1, 10), longestBackOff)
}

// succeeded forgets the back-offs.
func (a *account) succeeded() { a.strikes.Store(0) }
