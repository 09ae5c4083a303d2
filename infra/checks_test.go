package infra_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/infra/bicep"
	"github.com/mailferry/mailferry/scripts/stack"
	"github.com/mailferry/mailferry/shared/config"
	"github.com/mailferry/mailferry/shared/migration"
)

func checkQueues(s *site) (f findings) {
	var code []string
	for _, q := range migration.Queues {
		code = append(code, string(q))
	}
	for name, d := range s.deployed {
		f.differ("queue", "the code", code, name, names(d, "Microsoft.ServiceBus/namespaces/queues"))
	}
	s.resources("Microsoft.ServiceBus/namespaces/queues", func(in string, r *bicep.Resource) {
		for _, q := range stack.Queues() {
			if q.Name != path.Base(r.Name) {
				continue
			}
			for _, p := range []struct {
				name string
				want any
			}{
				{"requiresSession", q.Sessions},
				{"lockDuration", q.LockDuration},
				{"maxDeliveryCount", int64(q.MaxDeliveryCount)},
				{"requiresDuplicateDetection", q.DuplicateWindow > 0},
				{"duplicateDetectionHistoryTimeWindow", q.DuplicateWindow},
				{"deadLetteringOnMessageExpiration", true},
			} {
				got := r.Value("properties." + p.name)
				if _, isTime := p.want.(time.Duration); isTime {
					got = isoDuration(got)
				}
				if got != p.want {
					f.add("%s: queue %s: %s is %v, and in scripts/stack %v", in, q.Name, p.name, got, p.want)
				}
			}
		}
	})
	return f
}

var iso = regexp.MustCompile(`^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?$`)

// isoDuration reads a duration as ARM writes it.
func isoDuration(v any) time.Duration {
	m := iso.FindStringSubmatch(fmt.Sprint(v))
	if m == nil {
		return -1
	}
	var d time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(m[i+1])
		d += time.Duration(n) * unit
	}
	return d
}

func checkTriggers(s *site) (f findings) {
	sessions := map[string]bool{}
	for _, r := range s.deployed["trial"].Of("Microsoft.ServiceBus/namespaces/queues") {
		sessions[path.Base(r.Name)] = r.Value("properties.requiresSession") == true
	}
	readers := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(s.functions)) {
		for _, b := range s.functions[name].Bindings {
			switch b.Type {
			case "serviceBusTrigger":
				queue, dead := b.queue()
				want, there := sessions[queue]
				if !there {
					f.add("%s: queue %s is not provisioned", name, queue)
				} else if want = want && !dead; b.Sessions != want {
					f.add("%s: isSessionsEnabled is %t, and the queue's is %t", name, b.Sessions, want)
				}
				if _, ok := settings(s.deployed["trial"])[b.Connection+"__fullyQualifiedNamespace"]; !ok {
					f.add("%s: connection %s has no setting", name, b.Connection)
				}
				readers[b.Queue]++
			case "httpTrigger":
				if b.AuthLevel != "function" {
					f.add("%s: authLevel is %s, want function", name, b.AuthLevel)
				}
			}
			// Without it the host copies properties of the body over those of the message.
			if (b.Type == "serviceBusTrigger" || b.Type == "timerTrigger") && b.DataType != "binary" {
				f.add("%s: dataType is %q, want binary", name, b.DataType)
			}
		}
	}
	for _, queue := range slices.Sorted(maps.Keys(sessions)) {
		if n := readers[queue]; n != 1 {
			f.add("queue %s is read by %d functions, want one", queue, n)
		}
		if readers[queue+"/$DeadLetterQueue"] == 0 {
			f.add("the dead-letter queue of %s is read by no function", queue)
		}
	}
	return f
}

// checkRoutes compares functions/routes.go with the folders.
func checkRoutes(s *site) (f findings) {
	registered := map[string]*ast.CallExpr{}
	var code []string
	calls(s.fsys, "functions", func(_ string, c *ast.CallExpr) {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Tick", "Message", "Request"}, sel.Sel.Name) || len(c.Args) < 2 {
			return
		}
		if name, ok := stringOf(c.Args[0]); ok {
			registered[name] = c
			code = append(code, name)
		}
	})
	f.differ("function", "functions/*/function.json", slices.Sorted(maps.Keys(s.functions)), "functions/routes.go", code)
	kinds := map[string]string{"serviceBusTrigger": "Message", "timerTrigger": "Tick", "httpTrigger": "Request"}
	for name, c := range registered {
		for _, b := range s.functions[name].Bindings {
			want, ok := kinds[b.Type]
			if !ok {
				continue
			}
			if got := c.Fun.(*ast.SelectorExpr).Sel.Name; got != want {
				f.add("%s: function.json has a %s, and routes.go registers %s", name, b.Type, got)
			}
			if b.Type != "httpTrigger" {
				continue
			}
			got, _ := stringOf(c.Args[1])
			for _, method := range b.Methods {
				if route := strings.ToUpper(method) + " " + b.Route; route != got {
					f.add("%s: function.json says %s, and routes.go %s", name, route, got)
				}
			}
		}
	}
	return f
}

// calls visits every call in the Go files below a folder, tests left out.
func calls(fsys fs.FS, folder string, visit func(file string, c *ast.CallExpr)) {
	_ = fs.WalkDir(fsys, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
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
		ast.Inspect(tree, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				visit(name, c)
			}
			return true
		})
		return nil
	})
}

func stringOf(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

const (
	containerType = "Microsoft.Storage/storageAccounts/blobServices/containers"
	tableType     = "Microsoft.Storage/storageAccounts/tableServices/tables"
)

func checkStores(s *site) (f findings) {
	for name, d := range s.deployed {
		containers := slices.DeleteFunc(names(d, containerType), func(c string) bool { return c == "packages" })
		f.differ("container", "scripts/stack", stack.Containers[:], name, containers)
		f.differ("table", "scripts/stack", stack.Tables[:], name, names(d, tableType))
	}
	trial := s.deployed["trial"]
	containers := names(trial, containerType)
	calls(s.fsys, "functions", func(_ string, c *ast.CallExpr) {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Of" || len(c.Args) != 2 {
			return
		}
		pkg, _ := sel.X.(*ast.Ident)
		name, ok := stringOf(c.Args[1])
		switch {
		case !ok || pkg == nil:
		case pkg.Name == "tables" && !slices.Contains(names(trial, tableType), name):
			f.add("table %s is used in functions but not provisioned", name)
		case pkg.Name == "azure" && !slices.Contains(containers, name):
			f.add("container %s is used in functions but not provisioned", name)
		}
	})
	s.resources("Microsoft.Storage/storageAccounts/managementPolicies", func(_ string, r *bicep.Resource) {
		ruled := map[string]bool{}
		for _, rule := range r.Value("properties.policy.rules").([]any) {
			prefixes := rule.(*bicep.Object).Value("definition").(*bicep.Object).Value("filters").(*bicep.Object).Value("prefixMatch").([]any)
			for _, p := range prefixes {
				container := strings.TrimSuffix(p.(string), "/")
				if ruled[container] = true; !slices.Contains(containers, container) {
					f.add("lifecycle rule %s: there is no such container", p)
				}
			}
		}
		if !ruled["staging"] {
			f.add("staging has no lifecycle rule: it holds mail")
		}
		for _, keep := range []string{"receipts", "reports", "packages"} {
			if ruled[keep] {
				f.add("%s has a lifecycle rule: it must stay", keep)
			}
		}
	})
	s.resources("Microsoft.Web/sites", func(_ string, r *bicep.Resource) {
		value, _ := r.Value("properties.functionAppConfig.deployment.storage.value").(string)
		if container := value[strings.LastIndex(value, "»")+len("»"):]; !slices.Contains(containers, container) {
			f.add("deployment container %s is not provisioned", container)
		}
	})
	return f
}

// Settings that shared/config does not read, and who does. Each must be there.
var readByOthers = map[string]string{
	"AzureWebJobsStorage__accountName":              "the Functions host",
	"AzureWebJobsStorage__credential":               "the Functions host",
	"AzureWebJobsStorage__clientId":                 "the Functions host",
	"APPLICATIONINSIGHTS_CONNECTION_STRING":         "the Functions host",
	"APPLICATIONINSIGHTS_AUTHENTICATION_STRING":     "the Functions host",
	"ServiceBusConnection__credential":              "the Functions host's trigger",
	"ServiceBusConnection__clientId":                "the Functions host's trigger",
	"ServiceBusConnection__fullyQualifiedNamespace": "the Functions host's trigger",
	"GOMEMLIMIT": "the Go runtime",
}

// Settings that infra does not set, and why.
var setByOthers = map[string]string{
	"FUNCTIONS_CUSTOMHANDLER_PORT": "the Functions host sets it",
	"ServiceBusConnection":         "local runs only: there is no connection string in Azure",
	"StorageConnection":            "local runs only",
}

func checkSettings(s *site) (f findings) {
	var read []string
	readBy(reflect.TypeFor[config.Config](), "", &read)
	for name, d := range s.deployed {
		set := settings(d)
		for _, k := range read {
			if _, ok := set[k]; !ok && setByOthers[k] == "" {
				f.add("%s: setting %s is read by shared/config and set by nobody", name, k)
			}
		}
		for k := range set {
			if !slices.Contains(read, k) && readByOthers[k] == "" {
				f.add("%s: setting %s is set and read by nobody", name, k)
			}
		}
		for k, who := range readByOthers {
			if set[k] == "" {
				f.add("%s: setting %s is read by %s and set by nobody", name, k, who)
			}
		}
		for k, v := range set {
			if strings.HasSuffix(k, "__credential") && v != "managedidentity" {
				f.add("%s: setting %s is %s, want managedidentity", name, k, v)
			}
			if (strings.HasSuffix(k, "__clientId") || k == "AZURE_CLIENT_ID") && v != "«identity.properties.clientId»" {
				f.add("%s: setting %s is %s, want the client ID of the managed identity", name, k, v)
			}
		}
		if want := "Authorization=AAD;ClientId=" + set["AZURE_CLIENT_ID"]; set["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] != want {
			f.add("%s: setting APPLICATIONINSIGHTS_AUTHENTICATION_STRING is not %s", name, want)
		}
		if _, err := config.Read(context.Background(), inAzure(set)); err != nil {
			f.add("%s: config refuses the settings: %v", name, err)
		}
		if !regexp.MustCompile(`^\d+MiB$`).MatchString(set["GOMEMLIMIT"]) {
			f.add("%s: GOMEMLIMIT %q is not understood by the Go runtime", name, set["GOMEMLIMIT"])
		}
	}
	return f
}

// inAzure looks settings up as the handler sees them: secrets have been put in.
func inAzure(set map[string]string) config.Lookup {
	return func(name string) (string, bool) {
		v, ok := set[name]
		switch {
		case name == "FUNCTIONS_CUSTOMHANDLER_PORT":
			return "40000", true
		case name == "EWS_ACCOUNTS" && v != "":
			return `[{"user":"CORP\\svc","password":"x"}]`, true
		}
		return v, ok
	}
}

// readBy lists the settings that a struct's tags name.
func readBy(t reflect.Type, prefix string, out *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		parts := strings.Split(field.Tag.Get("env"), ",")
		inner := prefix
		for _, p := range parts[1:] {
			if more, ok := strings.CutPrefix(strings.TrimSpace(p), "prefix="); ok {
				inner += more
			}
		}
		switch {
		case parts[0] != "":
			*out = append(*out, prefix+parts[0])
		case field.Type.Kind() == reflect.Struct:
			readBy(field.Type, inner, out)
		}
	}
}

func checkTimes(s *site) (f findings) {
	timeout, err := clock(s.host.FunctionTimeout)
	if err != nil {
		f.add("functionTimeout: %v", err)
	}
	bus := s.host.Extensions.ServiceBus
	renewal, err := clock(bus.MaxAutoLockRenewalDuration)
	if err != nil {
		f.add("maxAutoLockRenewalDuration: %v", err)
	}
	if renewal <= timeout {
		f.add("maxAutoLockRenewalDuration %s is not above functionTimeout %s: a lock is lost while its delivery works", renewal, timeout)
	}
	for name, d := range s.deployed {
		budget, err := time.ParseDuration(settings(d)["COPY_BUDGET"])
		if err != nil || timeout-budget < time.Minute {
			f.add("%s: COPY_BUDGET %s leaves less than a minute of functionTimeout %s: the host would kill the handler", name, budget, timeout)
		}
	}
	for name, fn := range s.functions {
		for _, b := range fn.Bindings {
			if b.Type == "timerTrigger" && b.Schedule != "0 * * * * *" {
				f.add("%s: schedule is %s, want every minute: the alert tick waits half an hour", name, b.Schedule)
			}
		}
	}
	if !bus.AutoCompleteMessages {
		f.add("autoCompleteMessages is false: nobody completes a message")
	}
	if bus.MaxConcurrentCallsPerSess != 1 {
		f.add("maxConcurrentCallsPerSession is %d, want one call per session: a mailbox has one delivery", bus.MaxConcurrentCallsPerSess)
	}
	if bus.PrefetchCount != 0 {
		f.add("prefetchCount is %d: prefetched messages lose their locks while they wait", bus.PrefetchCount)
	}
	return f
}

// clock reads a .NET time span: hh:mm:ss.
func clock(s string) (time.Duration, error) {
	t, err := time.Parse("15:04:05", s)
	return t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), err
}

// Roles by their IDs, as Azure publishes them.
var knownRoles = map[string]string{
	"b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
	"2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
	"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
	"090c5cfd-751d-490a-894a-3ce6f1109419": "Azure Service Bus Data Owner",
	"4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
	"3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

// What the managed identity needs, and on what.
var needs = map[string]string{
	"Storage Blob Data Owner":        "Microsoft.Storage/storageAccounts/",
	"Storage Table Data Contributor": "Microsoft.Storage/storageAccounts/",
	"Azure Service Bus Data Owner":   "Microsoft.ServiceBus/namespaces/",
	"Key Vault Secrets User":         "Microsoft.KeyVault/vaults/",
	"Monitoring Metrics Publisher":   "Microsoft.Insights/components/",
}

func checkRoles(s *site) (f findings) {
	src, err := fs.ReadFile(s.fsys, roles)
	if err != nil {
		f.add("%v", err)
	}
	for name, d := range s.deployed {
		seen, has := map[string]bool{}, map[string]bool{}
		for _, r := range d.Of("Microsoft.Authorization/roleAssignments") {
			if r.File != roles {
				f.add("%s: line %d: a role is assigned outside roles.bicep", r.File, r.Line)
				continue
			}
			if r.Scope == "" {
				f.add("%s: %s is not scoped to one resource", name, r.Symbol)
			}
			if seen[r.Name] {
				f.add("%s: %s: two role assignments have the same name", name, r.Symbol)
			}
			seen[r.Name] = true
			id := path.Base(fmt.Sprint(r.Value("properties.roleDefinitionId")))
			role, known := knownRoles[id]
			if !known {
				f.add("%s: role %s is not known", r.Symbol, id)
				continue
			}
			if !strings.Contains(string(src), "\n// "+role+":") && !strings.Contains(string(src), "\n// "+role+",") {
				f.add("%s: no comment names %s", r.Symbol, role)
			}
			if r.Value("properties.principalType") == "ServicePrincipal" {
				has[role] = strings.HasPrefix(r.Scope, "/"+needs[role])
			} else if role != "Storage Blob Data Reader" {
				f.add("%s: people get %s, want Storage Blob Data Reader", r.Symbol, role)
			}
		}
		for role := range needs {
			if !has[role] {
				f.add("%s: the identity lacks %s", name, role)
			}
		}
	}
	return f
}

func checkKeys(s *site) (f findings) {
	want := func(kind, at string, value any) {
		s.resources(kind, func(in string, r *bicep.Resource) {
			if got := r.Value(at); got != value {
				f.add("%s: %s %s: %s is %v, want %v", in, kind, r.Name, at, got, value)
			}
		})
	}
	want("Microsoft.Storage/storageAccounts", "properties.allowSharedKeyAccess", false)
	want("Microsoft.Storage/storageAccounts", "properties.allowBlobPublicAccess", false)
	want("Microsoft.Storage/storageAccounts", "properties.minimumTlsVersion", "TLS1_2")
	want("Microsoft.Storage/storageAccounts", "properties.supportsHttpsTrafficOnly", true)
	want("Microsoft.ServiceBus/namespaces", "properties.disableLocalAuth", true)
	want("Microsoft.ServiceBus/namespaces", "properties.minimumTlsVersion", "1.2")
	want("Microsoft.Insights/components", "properties.DisableLocalAuth", true)
	want("Microsoft.OperationalInsights/workspaces", "properties.features.disableLocalAuth", true)
	want("Microsoft.KeyVault/vaults", "properties.enableRbacAuthorization", true)
	want("Microsoft.Web/sites", "properties.httpsOnly", true)
	want("Microsoft.Web/sites", "properties.siteConfig.minTlsVersion", "1.2")
	want("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "properties.allow", false)
	f = append(f, secretsIn(s)...)
	return f
}

// secretsIn looks for keys and secrets where they must not be.
func secretsIn(s *site) (f findings) {
	files, _ := fs.Glob(s.fsys, "infra/modules/*.bicep")
	for _, file := range append(files, "infra/main.bicep") {
		src, _ := fs.ReadFile(s.fsys, file)
		for _, bad := range []string{"listKeys", "listAccountSas", "listServiceSas", "listSecrets", "SharedAccessKey", "AccountKey="} {
			if strings.Contains(string(src), bad) {
				f.add("%s uses %s", file, bad)
			}
		}
	}
	secret := regexp.MustCompile(`(?i)password|accounts$|key$|secret$`)
	for name, d := range s.deployed {
		for _, file := range d.Files {
			for _, p := range file.Decls {
				if p.Word == "param" && p.Type == "string" && secret.MatchString(p.Name) && !isSecure(p) {
					f.add("%s: parameter %s holds a secret and is not @secure()", file.Name, p.Name)
				}
			}
		}
		for k, v := range d.Outputs {
			if strings.Contains(fmt.Sprint(v), "given as ") {
				f.add("%s: output %s holds a secret", name, k)
			}
		}
		made := names(d, "Microsoft.KeyVault/vaults/secrets")
		for k, v := range settings(d) {
			if strings.Contains(v, "given as ") {
				f.add("%s: setting %s holds a secret", name, k)
			}
			if at, ok := strings.CutPrefix(v, "@Microsoft.KeyVault(SecretUri="); ok {
				if it := strings.TrimSuffix(path.Base(at), ")"); !slices.Contains(made, it) && !(name == "signin" && it == "ews-password") {
					f.add("%s: setting %s points to the secret %s, which nobody makes", name, k, it)
				}
			} else if v != "" && secret.MatchString(strings.ReplaceAll(k, "_", "")) {
				f.add("%s: setting %s is not a reference to the vault", name, k)
			}
		}
	}
	return f
}

func isSecure(d bicep.Decl) bool { _, ok := d.Decorators["secure"]; return ok }

// What private endpoints are needed for, by their group.
var linked = map[string]string{
	"blob":      "Microsoft.Storage/storageAccounts",
	"table":     "Microsoft.Storage/storageAccounts",
	"namespace": "Microsoft.ServiceBus/namespaces",
	"vault":     "Microsoft.KeyVault/vaults",
}

func checkPrivate(s *site) (f findings) {
	s.resources("Microsoft.Web/sites", func(in string, r *bicep.Resource) {
		if joined := r.Value("properties.virtualNetworkSubnetId") != nil; joined != (in != "trial") {
			f.add("%s: the app is in the virtual network: %t", in, joined)
		}
	})
	for _, kind := range []string{"Microsoft.Storage/storageAccounts", "Microsoft.ServiceBus/namespaces", "Microsoft.KeyVault/vaults"} {
		s.resources(kind, func(in string, r *bicep.Resource) {
			want := map[string]string{"trial": "Enabled", "production": "Disabled", "signin": "Disabled"}[in]
			if got := r.Value("properties.publicNetworkAccess"); got != want {
				f.add("%s: %s: publicNetworkAccess is %v, want %s", in, kind, got, want)
			}
		})
	}
	production := s.deployed["production"]
	groups := map[string]bool{}
	for _, r := range production.Of("Microsoft.Network/privateEndpoints") {
		for _, c := range r.Value("properties.privateLinkServiceConnections").([]any) {
			to := c.(*bicep.Object).Value("properties").(*bicep.Object)
			for _, g := range to.Value("groupIds").([]any) {
				groups[g.(string)] = true
				if id := fmt.Sprint(to.Value("privateLinkServiceId")); !strings.HasPrefix(id, "/"+linked[g.(string)]+"/") {
					f.add("production: the private endpoint for %s leads to %s", g, id)
				}
			}
		}
	}
	for _, g := range slices.Sorted(maps.Keys(linked)) {
		if !groups[g] {
			f.add("production: no private endpoint for %s", g)
		}
	}
	for _, r := range production.Of("Microsoft.ServiceBus/namespaces") {
		if r.Value("sku.name") != "Premium" {
			f.add("production: Service Bus is %v, and private endpoints need Premium", r.Value("sku.name"))
		}
	}
	if n := len(s.deployed["trial"].Of("Microsoft.Network/privateEndpoints")); n != 0 {
		f.add("trial: %d private endpoints, and Standard Service Bus has none", n)
	}
	for _, r := range production.Of("Microsoft.Network/virtualNetworks") {
		if !strings.Contains(delegations(r), "Microsoft.App/environments") {
			f.add("production: subnet app is not delegated to Microsoft.App/environments")
		}
	}
	f = append(f, wayToExchange(s)...)
	return f
}

// wayToExchange checks what ewsAddress and fixedAddress make.
func wayToExchange(s *site) (f findings) {
	for in, want := range map[string]bool{"trial": false, "production": false, "signin": true} {
		d := s.deployed[in]
		got := false
		for _, r := range d.Of("Microsoft.Network/privateDnsZones/A") {
			records, _ := r.Value("properties.aRecords").([]any)
			got = len(records) == 1 && records[0].(*bicep.Object).Value("ipv4Address") == "10.1.2.3" && r.Name == "mail.example.org/@"
		}
		if linked := slices.Contains(linkedZones(d), "mail.example.org"); got != want || linked != want {
			f.add("%s: the Exchange's name leads to its private address: %t, in the network: %t, want %t", in, got, linked, want)
		}
		got = false
		for _, n := range d.Of("Microsoft.Network/natGateways") {
			for _, r := range d.Of("Microsoft.Network/virtualNetworks") {
				app := r.Value("properties.subnets").([]any)[0].(*bicep.Object).Value("properties").(*bicep.Object)
				gateway, _ := app.Value("natGateway").(*bicep.Object)
				got = gateway != nil && gateway.Value("id") == n.ID()
			}
		}
		if got != want {
			f.add("%s: subnet app goes out through the NAT gateway: %t, want %t", in, got, want)
		}
	}
	return f
}

// linkedZones lists the DNS zones that a network sees.
func linkedZones(d *bicep.Deployment) []string {
	var out []string
	for _, r := range d.Of("Microsoft.Network/privateDnsZones/virtualNetworkLinks") {
		out = append(out, path.Dir(r.Name))
	}
	return out
}

// delegations lists what a network's subnets are delegated to.
func delegations(r *bicep.Resource) string {
	var out []string
	for _, subnet := range r.Value("properties.subnets").([]any) {
		list, _ := subnet.(*bicep.Object).Value("properties").(*bicep.Object).Value("delegations").([]any)
		for _, d := range list {
			out = append(out, fmt.Sprint(d.(*bicep.Object).Value("properties").(*bicep.Object).Value("serviceName")))
		}
	}
	return strings.Join(out, " ")
}

func checkApp(s *site) (f findings) {
	s.resources("Microsoft.Web/serverfarms", func(in string, r *bicep.Resource) {
		if r.Value("sku.name") != "FC1" || r.Value("sku.tier") != "FlexConsumption" || r.Value("properties.reserved") != true {
			f.add("%s: plan is %v, want FC1 on Linux", in, r.Value("sku.name"))
		}
	})
	s.resources("Microsoft.Web/sites", func(in string, r *bicep.Resource) {
		c := "properties.functionAppConfig."
		if r.Value(c+"runtime.name") != "custom" || r.Value(c+"runtime.version") != "1.0" {
			f.add("%s: runtime is %v %v, want custom 1.0", in, r.Value(c+"runtime.name"), r.Value(c+"runtime.version"))
		}
		identity := s.deployed[in].Of("Microsoft.ManagedIdentity/userAssignedIdentities")[0].ID()
		users, _ := r.Value("identity.userAssignedIdentities").(*bicep.Object)
		if r.Value("identity.type") != "UserAssigned" || users == nil || !users.Has(identity) {
			f.add("%s: identity is not the user-assigned one", in)
		}
		if got := r.Value(c + "deployment.storage.authentication.type"); got != "UserAssignedIdentity" {
			f.add("%s: the package is read with %v, want UserAssignedIdentity", in, got)
		}
		for _, at := range []string{"properties.keyVaultReferenceIdentity", c + "deployment.storage.authentication.userAssignedIdentityResourceId"} {
			if r.Value(at) != identity {
				f.add("%s: %s is %v, want the user-assigned identity", in, at, r.Value(at))
			}
		}
		for _, a := range r.Value(c + "scaleAndConcurrency.alwaysReady").([]any) {
			name, _ := a.(*bicep.Object).Value("name").(string)
			fn, isFunction := strings.CutPrefix(name, "function:")
			if _, there := s.functions[fn]; name != "http" && !(isFunction && there) {
				f.add("%s: alwaysReady names %s, which is no function", in, name)
			}
		}
	})
	for in, want := range map[string]bool{"trial": false, "production": false, "signin": true} {
		on := false
		for _, r := range s.deployed[in].Of("Microsoft.Web/sites/config") {
			v := "properties.globalValidation."
			on = on || path.Base(r.Name) == "authsettingsV2" && r.Value(v+"requireAuthentication") == true &&
				r.Value(v+"unauthenticatedClientAction") == "Return401"
		}
		if on != want {
			f.add("%s: sign-in required is %t, want %t", in, on, want)
		}
		if got := settings(s.deployed[in])["HTTP_AUTH"]; (got == "entra") != want {
			f.add("%s: HTTP_AUTH is %s: without sign-in in front anybody could write its header", in, got)
		}
	}
	return f
}

// Versions of the API that are known to exist; the bicep compiler knows more, but is not everywhere.
var versions = map[string]string{
	"Microsoft.Web/sites":                                     "2025-03-01",
	"Microsoft.Web/serverfarms":                               "2025-03-01",
	"Microsoft.ServiceBus/namespaces":                         "2026-01-01",
	"Microsoft.Storage/storageAccounts":                       "2025-08-01",
	"Microsoft.Insights/components":                           "2020-02-02",
	"Microsoft.Insights/workbooks":                            "2023-06-01",
	"Microsoft.Insights/scheduledQueryRules":                  "2023-12-01",
	"Microsoft.Insights/metricAlerts":                         "2018-03-01",
	"Microsoft.Insights/actionGroups":                         "2023-01-01",
	"Microsoft.Insights/diagnosticSettings":                   "2021-05-01-preview",
	"Microsoft.OperationalInsights/workspaces":                "2025-07-01",
	"Microsoft.ManagedIdentity/userAssignedIdentities":        "2024-11-30",
	"Microsoft.Authorization/roleAssignments":                 "2022-04-01",
	"Microsoft.KeyVault/vaults":                               "2026-02-01",
	"Microsoft.Network/virtualNetworks":                       "2025-05-01",
	"Microsoft.Network/privateEndpoints":                      "2025-05-01",
	"Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "2025-05-01",
	"Microsoft.Network/privateDnsZones":                       "2024-06-01",
	"Microsoft.Network/natGateways":                           "2025-05-01",
	"Microsoft.Network/publicIPAddresses":                     "2025-05-01",
}

func checkVersions(s *site) (f findings) {
	for _, in := range slices.Sorted(maps.Keys(s.deployed)) {
		for _, r := range s.deployed[in].Resources {
			kind := r.Type
			for versions[kind] == "" && strings.Count(kind, "/") > 1 {
				kind = path.Dir(kind) // a child has its parent's versions
			}
			if versions[kind] != r.Version {
				f.add("%s: line %d: %s@%s is not among the versions that are known to exist", r.File, r.Line, r.Type, r.Version)
			}
		}
	}
	return f
}

func checkParameters(s *site) (f findings) {
	for _, file := range s.deployed["signin"].Files {
		for _, d := range file.Decls {
			text := ""
			if d.Decorators["description"] != nil {
				text = bicep.Text(d.Decorators["description"][0])
			}
			where := fmt.Sprintf("%s: line %d: ", file.Name, d.Line)
			switch {
			case d.Word == "output" && text == "":
				f.add("%soutput %s: has no description", where, d.Name)
			case d.Word != "param":
			case !strings.HasPrefix(text, "Required. ") && !strings.HasPrefix(text, "Optional. "):
				f.add("%s%s: want a description that begins with Required. or Optional.", where, d.Name)
			case strings.HasPrefix(text, "Required. ") && d.Value != nil:
				f.add("%s%s: has a default and says Required.", where, d.Name)
			case strings.HasPrefix(text, "Optional. ") && d.Value == nil:
				f.add("%s%s: has no default and says Optional.", where, d.Name)
			}
		}
	}
	return f
}
