package infra_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/infra/bicep"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
)

// query is a query of the workbook or an alert.
type query struct{ name, text string }

// queries are all of them as they are deployed, with the workbook's parameters left in.
func (s *site) queries() ([]query, error) {
	var out []query
	for _, r := range s.deployed["trial"].Of("Microsoft.Insights/scheduledQueryRules") {
		for _, c := range r.Value("properties.criteria.allOf").([]any) {
			out = append(out, query{path.Base(r.Name), fmt.Sprint(c.(*bicep.Object).Value("query"))})
		}
	}
	w, err := s.workbook()
	for _, i := range w.Items {
		if i.Type == 3 {
			out = append(out, query{"tile " + i.Name, i.Content.Query})
		}
	}
	return out, err
}

// workbook is the part of workbook.json that must agree with something.
type workbook struct {
	Items []struct {
		Type    int    `json:"type"`
		Name    string `json:"name"`
		Content struct {
			Query      string   `json:"query"`
			Title      string   `json:"title"`
			Type       string   `json:"resourceType"`
			Resources  []string `json:"crossComponentResources"`
			IDs        []string `json:"resourceIds"`
			Parameters []struct {
				Name  string `json:"name"`
				Value any    `json:"value"`
			} `json:"parameters"`
			Metrics []struct {
				Namespace string `json:"namespace"`
				Metric    string `json:"metric"`
			} `json:"metrics"`
		} `json:"content"`
	} `json:"items"`
}

func (s *site) workbook() (w workbook, err error) {
	book := s.deployed["trial"].Of("Microsoft.Insights/workbooks")
	if len(book) != 1 {
		return w, fmt.Errorf("%d workbooks, want 1", len(book))
	}
	return w, json.Unmarshal([]byte(fmt.Sprint(book[0].Value("properties.serializedData"))), &w)
}

// vocabulary is what the handler logs: the keys of each message.
type vocabulary map[string]map[string]bool

// logged collects the messages and keys of every slog call in functions and shared.
func logged(fsys fs.FS) (vocabulary, error) {
	v := vocabulary{}
	for _, folder := range []string{"functions", "shared"} {
		err := fs.WalkDir(fsys, folder, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "test/") {
				return err
			}
			src, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			tree, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
			if err != nil {
				return err
			}
			for _, d := range tree.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					v.function(fn)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// function collects what one function logs. Attributes are put together before LogAttrs, so that all of the function's
// count.
func (v vocabulary) function(fn *ast.FuncDecl) {
	var attrs []string
	ast.Inspect(fn, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && len(c.Args) > 0 {
			if sel, ok := c.Fun.(*ast.SelectorExpr); ok && fmt.Sprint(sel.X) == "slog" {
				if key, ok := stringOf(c.Args[0]); ok {
					attrs = append(attrs, key)
				}
			}
		}
		return true
	})
	ast.Inspect(fn, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		at := map[string]int{"Info": 0, "Warn": 0, "Error": 0, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "LogAttrs": 2}
		first, ok := at[sel.Sel.Name]
		if !ok || len(c.Args) <= first {
			return true
		}
		msg, ok := stringOf(c.Args[first])
		if !ok {
			return true
		}
		var keys []string
		for i := first + 1; i < len(c.Args); i += 2 {
			if key, ok := stringOf(c.Args[i]); ok {
				keys = append(keys, key)
			}
		}
		if sel.Sel.Name == "LogAttrs" {
			keys = attrs
		}
		v.add(msg, keys)
		return true
	})
}

func (v vocabulary) add(msg string, keys []string) {
	if v[msg] == nil {
		v[msg] = map[string]bool{"msg": true, "level": true, "time": true}
	}
	for _, k := range keys {
		v[msg][k] = true
	}
}

var (
	comparison = regexp.MustCompile(`\bd\.(\w+) (?:==|!=|in|has) (\([^)]*\)|'[^']*')`)
	property   = regexp.MustCompile(`\bd(?:\.|\[')(\w+)`)
	quoted     = regexp.MustCompile(`'([^']*)'`)
)

// compared lists what a query compares a property with.
func (q query) compared(field string) []string {
	var out []string
	for _, m := range comparison.FindAllStringSubmatch(q.text, -1) {
		if m[1] == field {
			for _, s := range quoted.FindAllStringSubmatch(m[2], -1) {
				out = append(out, s[1])
			}
		}
	}
	return out
}

func checkVocabulary(s *site) (f findings) {
	v, err := logged(s.fsys)
	if err != nil {
		f.add("read the code: %v", err)
	}
	queries, err := s.queries()
	if err != nil {
		f.add("read the workbook: %v", err)
	}
	if excluded := strings.Split(s.host.Logging.ApplicationInsights.SamplingSettings.ExcludedTypes, ";"); !slices.Contains(excluded, "Trace") {
		f.add("host.json: traces are sampled, and every number of the workbook is wrong")
	}
	outcomes, _ := fs.ReadFile(s.fsys, "shared/invoke/mux.go")
	more, _ := fs.ReadFile(s.fsys, "shared/telemetry/delivery.go")
	outcomes = append(outcomes, more...)
	for _, q := range queries {
		known := map[string]bool{}
		for _, msg := range q.compared("msg") {
			if v[msg] == nil {
				f.add("%s asks for the message %q, which nothing logs", q.name, msg)
			}
			for key := range v[msg] {
				known[key] = true
			}
		}
		for _, m := range property.FindAllStringSubmatch(q.text, -1) {
			if !known[m[1]] {
				f.add("%s reads %s, which none of its messages has", q.name, m[1])
			}
		}
		for _, state := range q.compared("state") {
			if !slices.Contains(migration.States[:], migration.State(state)) {
				f.add("%s asks for the state %q, which there is not", q.name, state)
			}
		}
		for _, action := range q.compared("action") {
			if !operator.Known(operator.Action(action)) {
				f.add("%s asks for the action %q, which there is not", q.name, action)
			}
		}
		for _, outcome := range q.compared("outcome") {
			if !strings.Contains(string(outcomes), `"`+outcome+`"`) {
				f.add("%s asks for the outcome %q, which there is not", q.name, outcome)
			}
		}
		for _, function := range q.compared("function") {
			if _, there := s.functions[function]; !there {
				f.add("%s asks for the function %q, which there is not", q.name, function)
			}
		}
	}
	return f
}

// Metrics that exist, by namespace.
var knownMetrics = map[string][]string{
	"microsoft.servicebus/namespaces": {"ActiveMessages", "ScheduledMessages", "DeadletteredMessages"},
	"microsoft.web/sites":             {"InstanceCount", "Http5xx", "OnDemandFunctionExecutionUnits"},
}

// asked finds the metrics of the app that a query reads from the workspace.
var asked = regexp.MustCompile(`MetricName == '(\w+)'`)

func checkWorkbook(s *site) (f findings) {
	w, err := s.workbook()
	if err != nil {
		f.add("workbook: %v", err)
		return f
	}
	given := []string{"TimeRange"}
	tiles := map[string]bool{}
	for _, i := range w.Items {
		if tiles[i.Name] {
			f.add("two tiles are called %s", i.Name)
		}
		tiles[i.Name] = true
		for _, p := range i.Content.Parameters {
			given = append(given, p.Name)
		}
	}
	for _, i := range w.Items {
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(i.Content.Query, -1) {
			if !slices.Contains(given, m[1]) {
				f.add("tile %s uses the parameter %s, which there is not", i.Name, m[1])
			}
		}
		for _, m := range asked.FindAllStringSubmatch(i.Content.Query, -1) {
			if !slices.Contains(knownMetrics["microsoft.web/sites"], m[1]) {
				f.add("tile %s asks for the metric %s, which there is not", i.Name, m[1])
			}
		}
		for _, m := range i.Content.Metrics {
			if metric := strings.TrimPrefix(m.Metric, m.Namespace+"--"); !slices.Contains(knownMetrics[m.Namespace], metric) {
				f.add("tile %s shows the metric %s, which there is not", i.Name, m.Metric)
			}
		}
		for _, id := range append(i.Content.Resources, i.Content.IDs...) {
			if !strings.HasPrefix(id, "/Microsoft.") {
				f.add("tile %s looks at %q, which is no resource of this deployment", i.Name, id)
			}
			kinds := []string{i.Content.Type}
			for _, m := range i.Content.Metrics {
				kinds = append(kinds, m.Namespace)
			}
			for _, kind := range kinds {
				if kind != "" && !strings.HasPrefix(strings.ToLower(id), "/"+kind+"/") {
					f.add("tile %s asks %s about %s", i.Name, id, kind)
				}
			}
		}
	}
	s.resources("Microsoft.Insights/scheduledQueryRules", func(_ string, r *bicep.Resource) {
		on := r.Value("properties.enabled") == true
		for _, c := range r.Value("properties.criteria.allOf").([]any) {
			o := c.(*bicep.Object)
			on = on && o.Value("timeAggregation") == "Count" && o.Value("operator") == "GreaterThan" && o.Value("threshold") == int64(0)
		}
		if !on {
			f.add("%s does not fire when its query has rows", r.Name)
		}
	})
	s.resources("Microsoft.Insights/metricAlerts", func(_ string, r *bicep.Resource) {
		for _, c := range r.Value("properties.criteria.allOf").([]any) {
			o := c.(*bicep.Object)
			namespace, metric := strings.ToLower(fmt.Sprint(o.Value("metricNamespace"))), fmt.Sprint(o.Value("metricName"))
			if !slices.Contains(knownMetrics[namespace], metric) {
				f.add("%s watches the metric %s, which there is not", r.Name, metric)
			}
		}
	})
	return f
}

func telemetryChecks() []check {
	return []check{
		{"vocabulary", checkVocabulary, []breakage{
			{"shared/verifier/verifier.go", `Log.Info("verified"`, `Log.Info("was verified"`, `asks for the message "verified", which nothing logs`},
			{"shared/pipeline/measure.go", `"targetRequests", s.Target`, `"requests", s.Target`, "tile limit-requests reads targetRequests, which none of its messages has"},
			{"shared/invoke/mux.go", `slog.Float64("seconds"`, `slog.Float64("took"`, "tile functions reads seconds"},
			{"infra/workbook.json", "d.state in ('synced'", "d.state in ('sinced'", `asks for the state "sinced"`},
			{"host.json", "Request;Exception;Trace", "Request;Exception", "traces are sampled"},
			{"infra/modules/alerts.bicep", "d.action in ('pause'", "d.action in ('paused'", `asks for the action "paused"`},
			{"infra/modules/alerts.bicep", "d.outcome == 'panic'", "d.outcome == 'panicked'", `asks for the outcome "panicked"`},
			{"infra/modules/alerts.bicep", "d.function == 'startwaves'", "d.function == 'startwave'", `asks for the function "startwave"`},
		}},
		{"workbook", checkWorkbook, []breakage{
			{"infra/workbook.json", "'{Wave}'", "'{Waves}'", "uses the parameter Waves"},
			{"infra/workbook.json", "MetricName == 'OnDemandFunctionExecutionUnits'", "MetricName == 'OnDemandFunctionExecutionUnit'", "cost-total asks for the metric OnDemandFunctionExecutionUnit,"},
			{"infra/workbook.json", "--ActiveMessages", "--ActiveMessage", "ActiveMessage, which there is not"},
			{"infra/modules/workbook.bicep", "SERVICEBUS_ID: serviceBusId", "BUS_ID: serviceBusId", `looks at "%SERVICEBUS_ID%"`},
			{"infra/modules/workbook.bicep", "APP_ID: appId", "APP_ID: insightsId", "about microsoft.web/sites"},
			{"infra/modules/workbook.bicep", "WORKSPACE_ID: workspaceId", "WORKSPACE_ID: appId", "about microsoft.operationalinsights/workspaces"},
			{"infra/modules/alerts.bicep", "operator: 'GreaterThan'", "operator: 'LessThan'", "does not fire when its query has rows"},
			{"infra/modules/alerts.bicep", "enabled: true\n      autoMitigate", "enabled: false\n      autoMitigate", "does not fire when its query has rows"},
			{"infra/modules/alerts.bicep", "'Http5xx'", "'Http5XX'", "watches the metric Http5XX"},
			{"infra/workbook.json", `"name": "states"`, `"name": "items"`, "two tiles are called items"},
		}},
	}
}

// Every message and key that a query asks for is one that the code logs.
func TestTelemetryAgreement(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range telemetryChecks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range c.find(s) {
				t.Error(f)
			}
		})
	}
}
