package hosttest

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func TestWireValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 10, 12, 22, 13, 49, 640002000, time.FixedZone("", 7200))
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"bytes", []byte{0, 1, 2, 3}, `"AAECAw=="`},
		{"DateTime", utc(at), `"2023-10-12T20:13:49"`},
		{"DateTimeOffset", at, `"2023-10-12T20:13:49+00:00"`},
		{"object", object{"a": 1}, `{"a":1}`},
		{"string", "stringTest", `"\"stringTest\""`},
		{"string of JSON", `{"a":"<b>"}`, `"\"{\\\"a\\\":\\\"<b>\\\"}\""`},
		{"int", 1, `"1"`},
		{"bool", true, `"true"`},
		{"array", []int{1, 2}, `"[1,2]"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := encode(wire(tt.in)); got != tt.want {
				t.Errorf("got %s want %s", got, tt.want)
			}
		})
	}
}

func TestAStringBodyOverwritesMetadata(t *testing.T) {
	t.Parallel()
	h := &Host{clock: clockwork.NewFakeClockAt(time.Date(2023, 10, 12, 20, 13, 49, 640002000, time.UTC))}
	meta := object{"DeliveryCount": 7, "SessionId": "mailbox-42", "MessageId": "m"}
	body := `{"DeliveryCount":0,"SessionId":"x","on":true,"none":null,"list":[1],"deep":{"a":[1]},"due":"2023-10-12T20:13:49Z","myTrigger":"y"}`
	for _, tt := range []struct {
		name  string
		value any
		want  object
	}{
		{"string", body, object{
			"DeliveryCount": `"0"`, "SessionId": `"x"`, "MessageId": `"m"`, "on": `"True"`,
			"deep": map[string]any{"a": []any{1.0}}, "due": `"10/12/2023 20:13:49"`,
		}},
		{"binary", []byte(body), object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
		{"string that is no object", `[` + body + `]`, object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
		{"string that only looks like one", body + `}`, object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := h.newEnvelope(&function{name: "copyshard", trigger: binding{Name: "msg"}}, tt.value, meta)
			var got envelope
			if err := json.Unmarshal([]byte(encode(e)), &got); err != nil {
				t.Fatal(err)
			}
			sys, _ := got.Metadata["sys"].(map[string]any)
			if sys["MethodName"] != "copyshard" || sys["UtcNow"] != "2023-10-12T20:13:49.640002Z" || len(sys["RandGuid"].(string)) != 36 {
				t.Errorf("sys %v", sys)
			}
			delete(got.Metadata, "sys")
			if !reflect.DeepEqual(got.Metadata, tt.want) {
				t.Errorf("got  %v\nwant %v", got.Metadata, tt.want)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	const js = "application/json; charset=utf-8"
	tests := []struct{ name, contentType, body, want string }{
		{"empty object", js, `{}`, ""},
		{"outputs in any case", js, `{"outputs":{"res":{}},"logs":["a",1]}`, ""},
		{"text/json", "text/json", `{}`, ""},
		{"empty", js, ``, errNothing.Error()},
		{"empty without type", "", ``, errNothing.Error()},
		{"null", js, ` null `, errNothing.Error()},
		{"sniffed", "text/plain; charset=utf-8", `{}`, "no MediaTypeFormatter"},
		{"no type", "", `{}`, "no MediaTypeFormatter"},
		{"no JSON", js, `ok`, "Invalid HttpResponseMessage"},
		{"array", js, `[]`, "Invalid HttpResponseMessage"},
		{"string", js, `"ok"`, "Invalid HttpResponseMessage"},
		{"logs of the wrong kind", js, `{"Logs":"x"}`, "Invalid HttpResponseMessage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readOutcome(tt.contentType, []byte(tt.body))
			if !says(err, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if got := traceparent(parent); len(got) != 55 || got[:36] != parent[:36] || got == parent {
		t.Errorf("child of %s is %s", parent, got)
	}
	if a, b := traceparent(""), traceparent("junk"); len(a) != 55 || a[:35] == b[:35] {
		t.Errorf("roots %s and %s", a, b)
	}
}
