package hosttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// binding is one entry of a function.json.
type binding struct {
	Name, Type, Direction, DataType, Cardinality string

	QueueName, TopicName, Connection string // serviceBusTrigger
	IsSessionsEnabled                bool
	AutoCompleteMessages             *bool

	Schedule     string // timerTrigger
	RunOnStartup bool
	UseMonitor   *bool

	Route     *string // httpTrigger
	AuthLevel string
	Methods   []string
}

// function is one folder of the package.
type function struct {
	name    string
	trigger binding
	out     string // name of the http output binding, "" for none
	route   template
	cron    *schedule
	counts  faults
}

func (f *function) is(trigger string) bool { return strings.EqualFold(f.trigger.Type, trigger) }

// group is the scale group the function belongs to: all HTTP functions share one.
func (f *function) group() string {
	if f.is("httpTrigger") {
		return "http"
	}
	return "function:" + f.name
}

// binary says that the trigger's value is delivered as bytes.
func (f *function) binary() bool { return strings.EqualFold(f.trigger.DataType, "binary") }

// discover reads the functions in the direct children of root. A folder without function.json is none; one
// in error is left out, as the host does, and its error is returned beside the others.
func discover(c Config, o options) ([]*function, []error) {
	entries, err := os.ReadDir(c.Root)
	if err != nil {
		return nil, []error{fmt.Errorf("read package: %w", err)}
	}
	var all []*function
	var errs []error
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(c.Root, e.Name(), "function.json"))
		if err != nil {
			continue
		}
		f, disabled, err := parseFunction(e.Name(), b, c.Env)
		if err == nil && f.is("httpTrigger") {
			f.route, err = parseTemplate(o.routePrefix, f)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("The '%s' function is in error: %w", e.Name(), err)) //nolint:staticcheck // the host's words
			continue
		}
		if !disabled {
			all = append(all, f)
		}
	}
	return all, errs
}

func parseFunction(name string, b []byte, env map[string]string) (f *function, disabled bool, err error) {
	valid := regexp.MustCompile(`(?i)^[a-z][a-z0-9_-]{0,127}$`)
	if !valid.MatchString(name) || strings.EqualFold(name, "host") {
		return nil, false, fmt.Errorf("'%s' is not a valid function name", name)
	}
	var doc struct {
		Bindings []binding
		Disabled any
		Retry    any
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, false, fmt.Errorf("function.json: %w", err)
	}
	if len(doc.Bindings) == 0 {
		return nil, false, errors.New("At least one binding must be declared.") //nolint:staticcheck // the host's words
	}
	if doc.Retry != nil {
		return nil, false, errors.New("retry is not offered by the local host")
	}
	f = &function{name: name}
	if err := f.bind(doc.Bindings); err != nil {
		return nil, false, err
	}
	setting, _ := doc.Disabled.(string)
	disabled = doc.Disabled == true || truthy(env[setting]) || truthy(env["AzureWebJobs."+name+".Disabled"])
	return f, disabled, f.resolve(env)
}

func truthy(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

func (f *function) bind(bindings []binding) error {
	valid := regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$`)
	triggers := []string{"serviceBusTrigger", "timerTrigger", "httpTrigger"}
	for _, b := range bindings {
		known := func(t string) bool { return strings.EqualFold(t, b.Type) }
		switch {
		case !valid.MatchString(b.Name):
			return fmt.Errorf("the binding name %s is invalid", b.Name)
		case slices.ContainsFunc(triggers, known) && f.trigger.Type != "":
			return errors.New("more than one trigger")
		case slices.ContainsFunc(triggers, known):
			f.trigger = b
		case known("http") && strings.EqualFold(b.Direction, "out") && f.out == "":
			f.out = b.Name
		default:
			return fmt.Errorf("the binding type '%s' is not registered in the local host", b.Type)
		}
	}
	if f.trigger.Type == "" {
		return errors.New("no trigger")
	}
	return nil
}

// resolve puts app settings into the trigger and checks it.
func (f *function) resolve(env map[string]string) error {
	t := &f.trigger
	for _, s := range []*string{&t.QueueName, &t.Schedule} {
		if *s = expand(*s, env); unresolved(*s) {
			return fmt.Errorf("'%s' does not resolve to a value", *s)
		}
	}
	switch {
	case f.is("serviceBusTrigger"):
		return f.checkBus()
	case f.is("timerTrigger"):
		cron, err := parseSchedule(t.Schedule)
		f.cron = cron
		return err
	}
	return f.checkHTTP()
}

func (f *function) checkBus() error {
	switch t := f.trigger; {
	case t.TopicName != "" || t.QueueName == "":
		return errors.New("serviceBusTrigger: the local host needs a queueName")
	case strings.EqualFold(t.Cardinality, "many"):
		return errors.New("serviceBusTrigger: cardinality many is not offered by the local host")
	case t.DataType != "" && !strings.EqualFold(t.DataType, "string") && !f.binary():
		return fmt.Errorf("serviceBusTrigger: dataType %s is not offered by the local host", t.DataType)
	}
	return nil
}

func (f *function) checkHTTP() error {
	switch strings.ToLower(f.trigger.AuthLevel) {
	case "", "anonymous", "function", "admin":
		return nil
	}
	return fmt.Errorf("httpTrigger: authLevel '%s' is unknown", f.trigger.AuthLevel)
}

// connection returns the connection string of a Service Bus trigger.
func (f *function) connection(env map[string]string) (string, error) {
	name := f.trigger.Connection
	if name == "" {
		name = "ServiceBus"
	}
	for _, n := range []string{"AzureWebJobs" + name, name} {
		if v := env[n]; v != "" {
			return v, nil
		}
	}
	if env[name+"__fullyQualifiedNamespace"] != "" {
		return "", fmt.Errorf("the local host has no identity: set %s to a connection string instead of %[1]s__fullyQualifiedNamespace", name)
	}
	return "", fmt.Errorf("Service Bus connection string '%s' is missing or empty", name) //nolint:staticcheck // the host's words
}
