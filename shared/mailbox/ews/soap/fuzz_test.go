package soap

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

const listingSeed = `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="s"><s:Body><m:FindItemResponse xmlns:m="m" xmlns:t="t"><m:ResponseMessages>
<m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:RootFolder IndexedPagingOffset="1" IncludesLastItemInRange="true"><t:Items>
<t:Message><t:ItemId Id="a" ChangeKey="c"/><t:ItemClass>IPM.Note</t:ItemClass><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x37"/><t:Value>&#x1F;&amp;</t:Value></t:ExtendedProperty></t:Message>
</t:Items></m:RootFolder></m:FindItemResponseMessage></m:ResponseMessages></m:FindItemResponse></s:Body></s:Envelope>`

// FuzzDecode wants an answer, or an error that says where; never a panic, and nothing beyond the bounds.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{listingSeed, listingSeed[:400], "<html><br></html>", "", "<Envelope/>", "<Envelope><Fault><faultcode>a:B</faultcode></Fault></Envelope>",
		`<Envelope><aResponseMessage><SyncState>x</SyncState><Changes><Delete><ItemId Id="a"/></Delete><Create><Message/></Create></Changes></aResponseMessage></Envelope>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		messages, err := Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, m := range messages {
			for _, e := range m.Entries {
				e.Number(0x37, 32)
				e.Binary(0x37)
				e.Time(0x37)
				if !utf8.ValidString(e.Name) {
					t.Errorf("name %q", e.Name)
				}
			}
		}
	})
}

// FuzzClean holds that what XML allows is left alone, and that portions do not matter.
func FuzzClean(f *testing.F) {
	for _, s := range []string{listingSeed, "&#x1F;", "&#31;", "&#xD800;", "&#x10FFFF;", "&#1114112;", "&amp;&", "\x00\xff\uFFFE", "&#;", "&#x;", "&#0000000000001;", "&#X41;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, err := io.ReadAll(newCleaner(strings.NewReader(s)))
		if err != nil {
			t.Fatal(err)
		}
		parts, err := io.ReadAll(iotest.OneByteReader(newCleaner(iotest.OneByteReader(strings.NewReader(s)))))
		if err != nil || string(parts) != string(whole) {
			t.Fatalf("%q became %q at once and %q in bytes, %v", s, whole, parts, err)
		}
		if !utf8.Valid(whole) {
			t.Fatalf("%q became %q", s, whole)
		}
		again, err := io.ReadAll(newCleaner(strings.NewReader(string(whole))))
		if err != nil || string(again) != string(whole) {
			t.Fatalf("%q became %q, and then %q", s, whole, again)
		}
	})
}
