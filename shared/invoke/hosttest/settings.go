package hosttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const overridePrefix = "azurefunctionsjobhost__"

// hostSettings is host.json as the host keeps it: paths joined by colons, in lower case, each with its text.
// App settings AzureFunctionsJobHost__a__b override a:b.
type hostSettings map[string]string

func readHostSettings(root string, env map[string]string) (hostSettings, error) {
	path := filepath.Join(root, "host.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	s := hostSettings{}
	if err := s.parse(b); err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	for name, v := range env {
		if rest, ok := strings.CutPrefix(strings.ToLower(name), overridePrefix); ok {
			s[strings.ReplaceAll(rest, "__", ":")] = v
		}
	}
	return s, s.check()
}

func (s hostSettings) parse(b []byte) error {
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil { // for its offset, and to see what follows the object
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("byte %d: %w", syntax.Offset, err)
		}
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return err
	}
	s.flatten("", doc)
	return nil
}

func (s hostSettings) flatten(at string, v any) {
	join := func(k string) string { return strings.TrimPrefix(at+":"+strings.ToLower(k), ":") }
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			s.flatten(join(k), x)
		}
	case []any:
		for i, x := range v {
			s.flatten(join(strconv.Itoa(i)), x)
		}
	case nil:
		s[at] = ""
	default:
		s[at] = fmt.Sprint(v)
	}
}

// check refuses what the host refuses and what this host does not offer.
func (s hostSettings) check() error {
	const handler = "customhandler:description:defaultexecutablepath"
	switch {
	case s["version"] == "":
		return errors.New("host.json: the required 'version' property is missing")
	case s["version"] != "2.0":
		return fmt.Errorf("host.json: '%s' is an invalid value for 'version'; want 2.0", s["version"])
	case s[handler] == "":
		return errors.New("host.json: customHandler.description.defaultExecutablePath is missing")
	}
	for _, key := range []string{"customhandler:port", "functions:0", "customhandler:http:routes:0:route", "concurrency:dynamicconcurrencyenabled"} {
		if v := s[key]; v != "" && !strings.EqualFold(v, "false") {
			return fmt.Errorf("host.json: %s is not offered by the local host", key)
		}
	}
	return nil
}

// list returns the strings of an array, given in host.json or as a JSON array in an app setting.
func (s hostSettings) list(key string) ([]string, error) {
	if v := s[key]; v != "" {
		var l []string
		if err := json.Unmarshal([]byte(v), &l); err != nil {
			return nil, fmt.Errorf("host.json: %s: %w", key, err)
		}
		return l, nil
	}
	var l []string
	for i := 0; ; i++ {
		v, ok := s[key+":"+strconv.Itoa(i)]
		if !ok {
			return l, nil
		}
		l = append(l, v)
	}
}

func (s hostSettings) number(key string, otherwise int) (int, error) {
	v, ok := s[key]
	if !ok || v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("host.json: %s: want a number above 0, got %q", key, v)
	}
	return n, nil
}

func (s hostSettings) flag(key string, otherwise bool) (bool, error) {
	v, ok := s[key]
	if !ok || v == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		return false, fmt.Errorf("host.json: %s: want true or false, got %q", key, v)
	}
	return b, nil
}

func (s hostSettings) duration(key string, otherwise time.Duration) (time.Duration, error) {
	v, ok := s[key]
	if !ok || v == "" {
		return otherwise, nil
	}
	d, err := parseTimeSpan(v)
	if err != nil {
		return 0, fmt.Errorf("host.json: %s: %w", key, err)
	}
	return d, nil
}

// parseTimeSpan reads [-][d.]hh:mm[:ss[.fffffff]], or days alone.
func parseTimeSpan(s string) (time.Duration, error) {
	fail := fmt.Errorf("want a time span like 00:30:00, got %q", s)
	text, sign := s, time.Duration(1)
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		text, sign = rest, -1
	}
	if days, err := strconv.Atoi(text); err == nil {
		return sign * time.Duration(days) * 24 * time.Hour, nil
	}
	parts := strings.Split(text, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return 0, fail
	}
	var total time.Duration
	if days, hours, ok := strings.Cut(parts[0], "."); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			return 0, fail
		}
		total, parts[0] = time.Duration(n)*24*time.Hour, hours
	}
	for i, unit := range []time.Duration{time.Hour, time.Minute} {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 || n > []int{23, 59}[i] {
			return 0, fail
		}
		total += time.Duration(n) * unit
	}
	if len(parts) == 3 {
		sec, err := strconv.ParseFloat(parts[2], 64)
		if err != nil || sec < 0 || sec >= 60 {
			return 0, fail
		}
		total += time.Duration(sec*1e7+0.5) * 100
	}
	return sign * total, nil
}

// timeSpan writes d as [d.]hh:mm:ss.
func timeSpan(d time.Duration) string {
	s := fmt.Sprintf("%02d:%02d:%02d", int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60)
	if d >= 24*time.Hour {
		return fmt.Sprintf("%d.%s", int(d.Hours())/24, s)
	}
	return s
}

// options are the settings this host obeys, with the published defaults.
type options struct {
	executable, workDir string
	args                []string
	forward, proxy      bool
	errorsOnly          bool // a line on standard error is an error
	initialization      time.Duration
	timeout             time.Duration // of a function; negative is none
	routePrefix         string
	traced              bool
	bus                 busOptions
}

type busOptions struct {
	autoComplete                     bool
	renewal                          time.Duration // negative is without end
	calls, sessions, callsPerSession int
	sessionIdle                      time.Duration
}

func readOptions(s hostSettings, c Config) (options, error) {
	var o options
	var errs [16]error
	o.executable = expand(s["customhandler:description:defaultexecutablepath"], c.Env)
	o.workDir = s["customhandler:description:workingdirectory"]
	if !filepath.IsAbs(o.workDir) {
		o.workDir = filepath.Join(c.Root, o.workDir)
	}
	if s["customhandler:description:defaultworkerpath"] == "" {
		o.executable = find(o.executable, o.workDir, c.Root)
	}
	o.args, errs[0] = handlerArgs(s, c.Env)
	o.forward, errs[1] = s.flag("customhandler:enableforwardinghttprequest", false)
	o.proxy, errs[2] = s.flag("customhandler:enableproxyinghttprequest", false)
	o.errorsOnly, errs[3] = s.flag("customhandler:description:usestderrorstreamforerrorsonly", true)
	o.initialization, errs[4] = s.duration("customhandler:initializationtimeout", 30*time.Second)
	o.timeout, errs[5] = s.duration("functiontimeout", 30*time.Minute)
	if o.timeout >= 0 && o.timeout < time.Second {
		errs[6] = errors.New("host.json: functionTimeout: want at least 00:00:01, or -1 for none")
	}
	o.routePrefix = "api"
	if v, ok := s["extensions:http:routeprefix"]; ok {
		o.routePrefix = strings.Trim(v, "/")
	}
	o.traced = c.Env["APPLICATIONINSIGHTS_CONNECTION_STRING"] != "" || strings.EqualFold(s["telemetrymode"], "OpenTelemetry")
	const bus = "extensions:servicebus:"
	o.bus.autoComplete, errs[7] = s.flag(bus+"autocompletemessages", true)
	o.bus.renewal, errs[8] = s.duration(bus+"maxautolockrenewalduration", 5*time.Minute)
	o.bus.calls, errs[9] = s.number(bus+"maxconcurrentcalls", 16*c.CPUs)
	o.bus.sessions, errs[10] = s.number(bus+"maxconcurrentsessions", 8)
	o.bus.callsPerSession, errs[11] = s.number(bus+"maxconcurrentcallspersession", 1)
	o.bus.sessionIdle, errs[12] = s.duration(bus+"sessionidletimeout", time.Minute)
	return o, errors.Join(errs[:]...)
}

// find looks for a relative executable in folders. One that is in none of them is looked for on the path.
func find(executable string, folders ...string) string {
	for _, dir := range folders {
		full := filepath.Join(dir, executable)
		if _, err := os.Stat(full); err == nil && !filepath.IsAbs(executable) {
			return full
		}
	}
	return executable
}

// handlerArgs are the arguments, the worker path and its arguments; what stays unresolved is left out.
func handlerArgs(s hostSettings, env map[string]string) ([]string, error) {
	const at = "customhandler:description:"
	before, err1 := s.list(at + "arguments")
	after, err2 := s.list(at + "workerarguments")
	all := before
	if p := s[at+"defaultworkerpath"]; p != "" {
		all = append(all, p)
	}
	var args []string
	for _, a := range append(all, after...) {
		if a = expand(a, env); !unresolved(a) {
			args = append(args, a)
		}
	}
	return args, errors.Join(err1, err2)
}

// expand puts app settings in the place of %NAME%; unknown names stay as they are.
func expand(s string, env map[string]string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "%")
		name, after, closed := strings.Cut(rest, "%")
		b.WriteString(before)
		if !ok || !closed {
			b.WriteString(s[len(before):])
			return b.String()
		}
		if v, known := env[name]; known {
			b.WriteString(v)
		} else {
			b.WriteString("%" + name + "%")
		}
		s = after
	}
}

func unresolved(s string) bool { return strings.Count(s, "%") >= 2 }
