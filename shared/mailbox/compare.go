package mailbox

import (
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// listingCut is how many UTF-16 units of a text every listing shows (EWS FindItem: 255 characters, 512 bytes).
const listingCut = 250

// SizeTolerance is how far the two sides' sizes may lie apart: each server counts its own overhead and stores texts in
// its own form. The figure is ours: a quarter and 16 KiB.
func SizeTolerance(size int64) int64 { return size/4 + 16<<10 }

// Differences names the properties that must agree on both sides and do not. Nil means that the items agree.
func Differences(source, target Item) []string {
	var out []string
	check := func(name string, same bool) {
		if !same {
			out = append(out, name)
		}
	}
	check("class", strings.EqualFold(source.Class, target.Class))
	check("received", sameTime(source.Received, target.Received))
	check("submitted", sameTime(source.Submitted, target.Submitted))
	check("subject", sameText(source.Subject, target.Subject))
	check("sender", sameText(source.Sender, target.Sender))
	check("to", sameText(source.To, target.To))
	check("cc", sameText(source.Cc, target.Cc))
	check("bcc", sameText(source.Bcc, target.Bcc))
	check("read flag", (source.Flags^target.Flags)&FlagRead == 0)
	check("draft flag", (source.Flags^target.Flags)&FlagUnsent == 0)
	check("follow-up flag", source.FlagStatus == target.FlagStatus)
	check("importance", source.Importance == target.Importance)
	check("attachments", source.Attachments == target.Attachments)
	d := source.Size - target.Size
	check("size", max(d, -d) <= SizeTolerance(source.Size))
	return out
}

func sameTime(a, b time.Time) bool { return second(a) == second(b) }

// sameText compares what listings show: a text that one side may have cut agrees with a longer one that begins alike.
func sameText(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	short, long := folded(a), folded(b)
	return short == long || len(utf16.Encode([]rune(a))) >= listingCut && strings.HasPrefix(long, short)
}

func folded(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF {
			return ' '
		}
		return r
	}, s)), " ")
}
