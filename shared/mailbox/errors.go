package mailbox

import (
	"errors"
	"fmt"
	"time"
)

// Errors that every adapter translates its foreign codes into, once, at its edge. Test with errors.Is.
var (
	ErrNoMailbox   = errors.New("no such mailbox")
	ErrAccess      = errors.New("access denied")
	ErrNoFolder    = errors.New("no such folder")
	ErrFolderName  = errors.New("folder name refused")
	ErrQuota       = errors.New("mailbox is full")
	ErrUnknown     = errors.New("outcome unknown")         // the request may have been carried out
	ErrUnavailable = errors.New("temporarily unavailable") // certainly not carried out, try again later
	ErrChanged     = errors.New("item changed meanwhile")
	ErrStartAgain  = errors.New("sync state refused, start again without one")
)

// Advice says what a person can do about an error that ended a mailbox's work, "" when that stands in the error itself.
func Advice(err error) string {
	switch {
	case errors.Is(err, ErrNoMailbox):
		return "check the address, and that the mailbox is there and has a licence; then retry it"
	case errors.Is(err, ErrAccess):
		return "check the service account's password and rights at the source, or the app's permissions on the target; then retry it"
	case errors.Is(err, ErrQuota):
		return "make room or raise its quota; then retry it"
	}
	return ""
}

// Throttled says that the other side wants no requests before Until. Nothing was carried out.
type Throttled struct {
	Until time.Time // on the clock of this process
	By    string    // what said so: "graph mailbox", "ews account", …; never an address
}

func (t *Throttled) Error() string {
	return fmt.Sprintf("throttled by %s until %s", t.By, t.Until.UTC().Format(time.RFC3339))
}

// Reason says why an item was skipped. The words are stable: they stand in the ledger and in reports.
type Reason string

const (
	Gone    Reason = "gone before copy"         // deleted or moved at the source after it was listed
	Corrupt Reason = "corrupt at source"        // the source cannot read it, or its stream is malformed
	TooBig  Reason = "too large for the target" // could not be uploaded in one window
	Refused Reason = "refused by the target"    // the target answers that it does not take this item
)

// ItemError is a finding about one item; the mailbox goes on without it.
type ItemError struct {
	Reason Reason
	Detail string // the other side's code or what the check found; never content
}

func (e *ItemError) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}
