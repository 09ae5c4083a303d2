package invoke

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t testing.TB, b []byte) envelope {
	t.Helper()
	e, err := parseEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMessageOfACapturedEnvelope(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file string
		want Message
	}{
		{"double encoded", "message.json", Message{
			Body: []byte(`{"v":1}`), ID: "plan-42-1", SessionID: "mailbox-42", CorrelationID: "wave-7",
			LockToken: "4e773554-f6b7-4ea2-b07d-4c5fd5aba741", DeliveryCount: 1, SequenceNumber: 9007199254740993,
			Enqueued: time.Date(2023, 10, 12, 20, 13, 49, 0, time.UTC),
			Properties: map[string]any{
				"turn": int64(2), "ratio": 0.5, "big": int64(9007199254740993), "on": true,
				"DeadLetterReason":           "MaxDeliveryCountExceeded",
				"DeadLetterErrorDescription": "Message could not be consumed after 10 delivery attempts.",
			},
			DeadLetterReason:      "MaxDeliveryCountExceeded",
			DeadLetterDescription: "Message could not be consumed after 10 delivery attempts.",
		}},
		{"plain, numbers, absent keys", "message-plain.json", Message{
			Body: []byte{0, 1, 2, 3}, ID: "plan-42-1", LockToken: "4e773554-f6b7-4ea2-b07d-4c5fd5aba741",
			DeliveryCount: 3, SequenceNumber: 12, Enqueued: time.Date(2023, 10, 12, 20, 13, 49, 0, time.UTC),
			Properties: map[string]any{"k": "v"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mustParse(t, golden(t, tt.file)).message()
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestTickOfACapturedEnvelope(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file string
		want Tick
	}{
		{"tick.json", Tick{PastDue: true, Last: time.Date(2023, 10, 12, 20, 10, 0, 1234500, time.UTC), Next: time.Date(2023, 10, 12, 20, 15, 0, 0, time.UTC)}},
		{"tick-first.json", Tick{Next: time.Date(2023, 10, 12, 20, 15, 0, 0, time.UTC)}},
		{"tick-unmonitored.json", Tick{}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			got, err := mustParse(t, golden(t, tt.file)).tick()
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want || got.Last.IsZero() != tt.want.Last.IsZero() {
				t.Errorf("got %+v want %+v", got, tt.want)
			}
		})
	}
}

func TestTextTakesOffOneLayerOnly(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"plain", `"abc"`, `abc`},
		{"double", `"\"abc\""`, `abc`},
		{"value in quotes", `"\"\\\"abc\\\"\""`, `"abc"`},
		{"starts with a quote but is not JSON", `"\"abc"`, `"abc`},
		{"looks like a number", `"\"7\""`, `7`},
		{"number", `7`, `7`},
		{"bool", `true`, `true`},
		{"null", `null`, ``},
		{"empty, double", `"\"\""`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := text([]byte(tt.in))
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestMalformedEnvelopeNamesTheField(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"empty", ``, `byte 0`},
		{"cut", `{"Data":{"msg":"AA`, `byte 18`},
		{"array", `[]`, `want an object, got array`},
		{"data is a string", `{"Data":"x"}`, `Data: want an object, got string`},
		{"no binding", `{"Data":{}}`, `Data: want one binding, got 0`},
		{"two bindings", `{"Data":{"a":"","b":""}}`, `Data: want one binding, got 2`},
		{"not base64", `{"Data":{"msg":"{}"}}`, `Data.msg: illegal base64 data at input byte 0; is dataType binary set in function.json?`},
		{"null body", `{"Data":{"msg":null}}`, `Data.msg: want a base64 string, got null`},
		{"object body", `{"Data":{"msg":{}}}`, `Data.msg: want a base64 string, got object`},
		{"delivery count", `{"Data":{"msg":""},"Metadata":{"DeliveryCount":"x"}}`, `Metadata.DeliveryCount: want a whole number below 2^31`},
		{"negative count", `{"Data":{"msg":""},"Metadata":{"DeliveryCount":"-1"}}`, `Metadata.DeliveryCount: want`},
		{"date", `{"Data":{"msg":""},"Metadata":{"EnqueuedTimeUtc":"yesterday"}}`, `Metadata.EnqueuedTimeUtc: want a date`},
		{"session", `{"Data":{"msg":""},"Metadata":{"SessionId":{}}}`, `Metadata.SessionId: want a string, got object`},
		{"properties", `{"Data":{"msg":""},"Metadata":{"ApplicationProperties":"x"}}`, `Metadata.ApplicationProperties: want an object, got string`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := parseEnvelope([]byte(tt.in))
			if err == nil {
				_, err = e.message()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMalformedTickNamesTheField(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"string", `{"Data":{"tick":"x"}}`, `Data.tick`},
		{"past due", `{"Data":{"tick":{"IsPastDue":"x"}}}`, `IsPastDue`},
		{"next", `{"Data":{"tick":{"ScheduleStatus":{"Next":"x"}}}}`, `Data.tick.ScheduleStatus.Next: want a date`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := mustParse(t, []byte(tt.in)).tick()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzEnvelope checks that no envelope makes a decoder panic, and that what was read keeps its promises.
func FuzzEnvelope(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"Data":{"msg":null},"Metadata":{"DeliveryCount":"\"1\"","SessionId":""}}`))
	f.Add([]byte(`{"data":{"req":{"Url":"%zz","Method":"G T","Headers":{"":[]}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnvelope(b)
		if err != nil {
			return
		}
		if m, err := e.message(); err == nil {
			if m.DeliveryCount < 0 || m.SequenceNumber < 0 {
				t.Errorf("negative count or number: %+v", m)
			}
			if !m.Enqueued.IsZero() && m.Enqueued.Location() != time.UTC {
				t.Errorf("not in UTC: %v", m.Enqueued)
			}
		}
		_, _ = e.tick()
		outer := post("/x", "")
		if r, err := e.request(outer); err == nil && r.URL == nil {
			t.Error("request without a URL")
		}
	})
}
