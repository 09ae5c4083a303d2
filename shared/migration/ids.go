package migration

import (
	"fmt"
	"regexp"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// WaveID, MailboxID and PlanID are safe in URLs, table keys, blob names, session IDs and logs, and hold no address.
type (
	WaveID    string
	MailboxID string
	PlanID    string
)

// MailboxFor returns the ID of the mailbox that moves from source to target. It is the same in every wave, because it
// is the Service Bus session: one mailbox is worked on by one delivery at a time.
func MailboxFor(source, target string) MailboxID {
	return MailboxID("m" + mailbox.Fingerprint(source, target))
}

var idShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func checkID(field, id string) error {
	if !idShape.MatchString(id) {
		return fmt.Errorf("field %s: want 1 to 40 lower-case letters, digits or hyphens", field)
	}
	return nil
}
