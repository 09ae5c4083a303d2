package hosttest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// says compares an error with words it must contain; "" is no error.
func says(err error, want string) bool {
	if want == "" || err == nil {
		return want == "" && err == nil
	}
	return strings.Contains(err.Error(), want)
}

func TestHostSettings(t *testing.T) {
	t.Parallel()
	const full = `{"version":"2.0","functionTimeout":"00:10:00","telemetryMode":"OpenTelemetry",
		"customHandler":{"description":{"defaultExecutablePath":"bin/%NAME%"},"enableProxyingHttpRequest":true},
		"extensions":{"http":{"routePrefix":"v1"},"serviceBus":{"maxConcurrentSessions":3,"sessionIdleTimeout":"00:00:10","maxAutoLockRenewalDuration":"-00:00:00.0010000"}}}`
	tests := []struct {
		name, json string
		env        map[string]string
		want       string
		check      func(o options) bool
	}{
		{"defaults", plainHost, nil, "", func(o options) bool {
			return o.timeout == 30*time.Minute && o.initialization == 30*time.Second && o.routePrefix == "api" && !o.proxy && !o.forward && o.errorsOnly && !o.traced &&
				o.bus == busOptions{autoComplete: true, renewal: 5 * time.Minute, calls: 32, sessions: 8, callsPerSession: 1, sessionIdle: time.Minute}
		}},
		{"all", full, map[string]string{"NAME": "ferry"}, "", func(o options) bool {
			return o.executable == "bin/ferry" && o.timeout == 10*time.Minute && o.proxy && o.routePrefix == "v1" && o.traced &&
				o.bus.sessions == 3 && o.bus.sessionIdle == 10*time.Second && o.bus.renewal < 0
		}},
		{"overridden", full, map[string]string{
			"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions": "5",
			"AzureFunctionsJobHost__functionTimeout":                               "-1",
			"AzureFunctionsJobHost__customHandler__description__arguments":         `["a","b"]`,
		}, "", func(o options) bool {
			return o.bus.sessions == 5 && o.timeout < 0 && slices.Equal(o.args, []string{"a", "b"})
		}},
		{"no version", `{}`, nil, "'version' property is missing", nil},
		{"version 4", `{"version":"4.0"}`, nil, "'4.0' is an invalid value", nil},
		{"no handler", `{"version":"2.0"}`, nil, "defaultExecutablePath is missing", nil},
		{"no JSON", `{"version":`, nil, "byte 11", nil},
		{"bad time", plainHost, map[string]string{"AzureFunctionsJobHost__functionTimeout": "30m"}, "functiontimeout: want a time span", nil},
		{"short timeout", plainHost, map[string]string{"AzureFunctionsJobHost__functionTimeout": "00:00:00"}, "functionTimeout: want at least", nil},
		{"no sessions", plainHost, map[string]string{"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions": "0"}, "want a number above 0", nil},
		{"not offered", plainHost, map[string]string{"AzureFunctionsJobHost__concurrency__dynamicConcurrencyEnabled": "true"}, "not offered", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, filepath.Join(root, "host.json"), tt.json)
			s, err := readHostSettings(root, tt.env)
			var o options
			if err == nil {
				o, err = readOptions(s, Config{Root: root, Env: tt.env, CPUs: 2})
			}
			if !says(err, tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if tt.check != nil && !tt.check(o) {
				t.Errorf("options %+v", o)
			}
		})
	}
}

func TestTheExecutableIsFoundBesideTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"handler", "sub/handler", "only"} {
		write(t, filepath.Join(root, name), "")
	}
	for _, tt := range []struct{ name, description, want string }{
		{"package", `"defaultExecutablePath":"handler"`, filepath.Join(root, "handler")},
		{"working directory first", `"defaultExecutablePath":"handler","workingDirectory":"sub"`, filepath.Join(root, "sub", "handler")},
		{"then the package", `"defaultExecutablePath":"only","workingDirectory":"sub"`, filepath.Join(root, "only")},
		{"on the path", `"defaultExecutablePath":"other"`, "other"},
		{"a runtime", `"defaultExecutablePath":"handler","defaultWorkerPath":"main.js"`, "handler"},
	} {
		s := hostSettings{}
		if err := s.parse([]byte(`{"version":"2.0","customHandler":{"description":{` + tt.description + `}}}`)); err != nil {
			t.Fatal(err)
		}
		if o, err := readOptions(s, Config{Root: root}); err != nil || o.executable != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, o.executable, err, tt.want)
		}
	}
}

func TestTimeSpans(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want time.Duration
		bad  bool
	}{
		{"00:30:00", 30 * time.Minute, false},
		{"1.02:03:04.5", 26*time.Hour + 3*time.Minute + 4500*time.Millisecond, false},
		{"-00:00:00.0010000", -time.Millisecond, false},
		{"00:05", 5 * time.Minute, false},
		{"2", 48 * time.Hour, false},
		{"-1", -24 * time.Hour, false},
		{"24:00:00", 0, true},
		{"00:60:00", 0, true},
		{"", 0, true},
		{"x:00:00", 0, true},
		{"00:00:-1", 0, true},
	}
	for _, tt := range tests {
		got, err := parseTimeSpan(tt.in)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%q: got %v, %v", tt.in, got, err)
		}
	}
}

func TestFunctionsAreFound(t *testing.T) {
	t.Parallel()
	const bus = `{"bindings":[{"name":"msg","type":"serviceBusTrigger","direction":"in","queueName":"%QUEUE%","connection":"Bus","dataType":"binary","isSessionsEnabled":true}]}`
	const web = `{"bindings":[{"name":"req","type":"httpTrigger","authLevel":"anonymous"},{"name":"res","type":"http","direction":"out"}]}`
	root := t.TempDir()
	for name, b := range map[string]string{
		"good": bus, "web": web, "functions/nested": web, "9lives": web, "HOST": web, "off": web, "setting": `{"disabled":"OFF","bindings":[{"name":"t","type":"timerTrigger","schedule":"0 0 0 * * *"}]}`,
		"self": `{"disabled":true,"bindings":[{"name":"t","type":"timerTrigger","schedule":"0 0 0 * * *"}]}`,
		"none": `{}`, "two": `{"bindings":[{"name":"a","type":"timerTrigger","schedule":"0 0 0 * * *"},{"name":"b","type":"timerTrigger"}]}`,
		"many":    `{"bindings":[{"name":"a","type":"serviceBusTrigger","queueName":"q","cardinality":"many"}]}`,
		"topic":   `{"bindings":[{"name":"a","type":"serviceBusTrigger","topicName":"q"}]}`,
		"blob":    `{"bindings":[{"name":"a","type":"blobTrigger"}]}`,
		"output":  `{"bindings":[{"name":"a","type":"serviceBusTrigger","queueName":"q"},{"name":"o","type":"serviceBus","direction":"out"}]}`,
		"name":    `{"bindings":[{"name":"my_msg","type":"serviceBusTrigger","queueName":"q"}]}`,
		"missing": `{"bindings":[{"name":"a","type":"serviceBusTrigger","queueName":"%NOPE%"}]}`,
		"cron":    `{"bindings":[{"name":"a","type":"timerTrigger","schedule":"00:05:00"}]}`,
		"retry":   `{"retry":{"strategy":"fixedDelay"},"bindings":[{"name":"a","type":"timerTrigger","schedule":"0 0 0 * * *"}]}`,
		"admin":   `{"bindings":[{"name":"req","type":"httpTrigger","route":"x/{a"}]}`,
		"level":   `{"bindings":[{"name":"req","type":"httpTrigger","authLevel":"user"}]}`,
		"json":    `{"bindings":`,
	} {
		write(t, filepath.Join(root, name, "function.json"), b)
	}
	env := map[string]string{"QUEUE": "copy/$DeadLetterQueue", "AzureWebJobs.off.Disabled": "true", "OFF": "1"}
	all, errs := discover(Config{Root: root, Env: env}, options{routePrefix: "api"})
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	if !slices.Equal(names, []string{"good", "web"}) {
		t.Errorf("found %q", names)
	}
	if f := all[0]; f.trigger.QueueName != "copy/$DeadLetterQueue" || !f.binary() || !f.trigger.IsSessionsEnabled || f.group() != "function:good" {
		t.Errorf("function %+v", f.trigger)
	}
	want := map[string]string{
		"9lives": "not a valid function name", "HOST": "not a valid function name", "none": "At least one binding", "two": "more than one trigger",
		"many": "cardinality many", "topic": "needs a queueName", "blob": "'blobTrigger' is not registered", "output": "'serviceBus' is not registered",
		"name": "my_msg is invalid", "missing": "'%NOPE%' does not resolve", "cron": "was not recognized", "retry": "retry is not offered",
		"admin": "not understood", "level": "authLevel 'user'", "json": "function.json",
	}
	if len(errs) != len(want) {
		t.Errorf("%d errors: %v", len(errs), errs)
	}
	for name, words := range want {
		if !slices.ContainsFunc(errs, func(err error) bool { return strings.Contains(err.Error(), "'"+name+"'") && says(err, words) }) {
			t.Errorf("no error of %s with %q in %v", name, words, errs)
		}
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, connection string
		env              map[string]string
		want, wrong      string
	}{
		{"named", "Bus", map[string]string{"Bus": "x"}, "x", ""},
		{"prefixed goes first", "Bus", map[string]string{"Bus": "x", "AzureWebJobsBus": "y"}, "y", ""},
		{"default", "", map[string]string{"AzureWebJobsServiceBus": "z"}, "z", ""},
		{"identity", "Bus", map[string]string{"Bus__fullyQualifiedNamespace": "n"}, "", "set Bus to a connection string"},
		{"none", "Bus", nil, "", "'Bus' is missing or empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := (&function{trigger: binding{Connection: tt.connection}}).connection(tt.env)
			if got != tt.want || !says(err, tt.wrong) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	env := map[string]string{"A": "1", "B": "%A%"}
	for in, want := range map[string]string{"": "", "x": "x", "%A%": "1", "a%A%b%A%": "a1b1", "%N%": "%N%", "50%": "50%", "%B%": "%A%", "%A%%": "1%"} {
		if got := expand(in, env); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
