package receipt

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// ListingDigest is the digest of a leaf of depth [Listing]: SHA-256 over what a listing shows of an item, one property
// per line as name, colon, space, value. Texts are quoted as Go quotes them, so that none can look like two lines. It has
// the properties that verification compares and those that identify the item; it leaves out the size, which stands in
// the leaf, and the ids and change keys, which mean nothing elsewhere.
func ListingDigest(p mailbox.Properties) string {
	h := sha256.New()
	text := func(name, v string) { fmt.Fprintf(h, "%s: %q\n", name, v) }
	text("class", strings.ToLower(p.Class))
	fmt.Fprintf(h, "search key: %x\n", p.SearchKey)
	text("message id", p.MessageID)
	text("subject", p.Subject)
	text("sender", p.Sender)
	text("submitted", stamp(p.Submitted))
	text("received", stamp(p.Received))
	text("to", p.To)
	text("cc", p.Cc)
	text("bcc", p.Bcc)
	fmt.Fprintf(h, "read: %t\nunsent: %t\n", p.Flags&mailbox.FlagRead != 0, p.Flags&mailbox.FlagUnsent != 0)
	fmt.Fprintf(h, "flag status: %d\nimportance: %d\nattachments: %t\n", p.FlagStatus, p.Importance, p.Attachments)
	return Hash(h.Sum(nil)).String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
