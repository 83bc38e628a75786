package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// Kind is the campaign file's kind of document. Its objects are of type Campaign.
func Kind() config.Kind {
	return config.Define("Campaign", "which clusters go from which version to which, how many at a time, and when", fileDefaults, build)
}

// Parse reads a file that holds one campaign. The error is a config.Problems if the content is wrong.
func Parse(src config.Source) (Campaign, error) {
	c, _, err := config.One[Campaign](src, Kind())
	return c, err
}

// file is the shape of a campaign's document. Keys that are absent keep what fileDefaults says.
type file struct {
	Name         string   `yaml:"name" rule:"required name" doc:"the campaign's name" example:"mariadb-11-8"`
	Strategy     string   `yaml:"strategy" rule:"oneof=bluegreen|inplace|rolling|contract" doc:"the path that every cluster takes" example:"bluegreen"`
	Product      string   `yaml:"product" rule:"required name" doc:"what the servers run: mariadb, mysql, or an engine behind a load balancer" example:"mariadb"`
	From         string   `yaml:"from" rule:"required version" doc:"the version that the clusters have" example:"10.11"`
	To           string   `yaml:"to" rule:"required version" doc:"the version that they are raised to" example:"11.8"`
	Environments []string `yaml:"environments" rule:"required nonempty unique name" doc:"environments, in the order in which they go" example:"[qa, prod]"`
	Order        string   `yaml:"order" rule:"oneof=stage|campaign|none" doc:"what an environment waits for in the ones before it: the same stage of every cluster, their whole campaign, or nothing" example:"stage"`
	Clusters     []string `yaml:"clusters" rule:"nonempty unique glob" doc:"patterns of env/cluster; absent: all" example:"[\"*/orders\", \"prod/*\"]"`
	Exclude      []string `yaml:"exclude" rule:"unique glob" doc:"patterns of env/cluster that stay out" example:"[\"prod/legacy-*\"]"`
	Approve      []string `yaml:"approve" rule:"unique" doc:"stages that wait for a person's approval" example:"[tear-down]"`

	Policy   string   `yaml:"policy" rule:"nonempty" doc:"a product file of your own, relative to this file, whose rules judge instead of the product's built-in ones; or builtin" example:"our-mariadb.yaml"`
	Bridges  []string `yaml:"bridges" rule:"unique" doc:"files of bridges that the way goes over, relative to this file" example:"[eight-to-nine.yaml]"`
	Rehearse string   `yaml:"rehearse" doc:"stage whose way back one cluster goes before the others start it" example:"switch-storage"`

	SeenWithin time.Duration `yaml:"seen_within" rule:"max=7d" doc:"a stage starts only on a cluster that a supervisor has looked at so lately; 0s: that is not asked" example:"5m"`

	Cells    fileCells    `yaml:"cells" doc:"the old and the new cell; for inplace the one whose nodes are raised" example:"{from: blue, to: green}"`
	Limits   fileLimits   `yaml:"limits" doc:"how many clusters of an environment may be in a stage at the same time" example:"{per_stage: 10}"`
	Soak     fileSoak     `yaml:"soak" doc:"how long to wait and watch" example:"{environments: 1d}"`
	Schedule fileSchedule `yaml:"schedule" doc:"when stages may start" example:"{timezone: Europe/Berlin}"`
	Freezes  []fileFreeze `yaml:"freezes" doc:"times in which nothing starts"`
	Budget   fileBudget   `yaml:"budget" doc:"how many clusters may have failed before nothing more starts" example:"{campaign: 3}"`
	Switch   fileSwitch   `yaml:"switch" doc:"settings of the storage switch" example:"{hold_ttl: 10s}"`
	Verify   fileVerify   `yaml:"verify" doc:"settings of the data check" example:"{chunk_rows: 1000}"`
	Replay   fileReplay   `yaml:"replay" doc:"settings of the replay of production's queries, which has to pass before the storage switch" example:"{min_time: 2d, min_coverage: 90%}"`
	Record   fileRecord   `yaml:"record" doc:"settings of the gateway switch" example:"{ttl: 60s}"`
	Rolling  fileRolling  `yaml:"rolling" doc:"settings of the strategy rolling" example:"{group: 33%, least_serving: 60%}"`
	Contract fileContract `yaml:"contract" doc:"settings of the strategy contract" example:"{window: 7d}"`
}

type fileCells struct {
	From  string `yaml:"from" rule:"name" doc:"the cell in service" example:"blue"`
	To    string `yaml:"to" rule:"name" doc:"the cell that is made" example:"green"`
	Nodes int    `yaml:"nodes" rule:"min=0 max=100" doc:"nodes in the new cell; 0: as many as the old one has" example:"2"`
}

type fileLimits struct {
	PerStage     int                       `yaml:"per_stage" rule:"min=1 max=100000" doc:"for every stage that is not named" example:"10"`
	PerLaunch    int                       `yaml:"per_launch" rule:"min=0 max=100000" doc:"most starts of one launch in one environment; 0: no limit" example:"20"`
	Stages       map[string]int            `yaml:"stages" rule:"min=0 max=100000" doc:"by stage; 0 shuts it" example:"{create: 20}"`
	Environments map[string]map[string]int `yaml:"environments" doc:"by environment, then by stage, \"*\" for all" example:"{prod: {\"*\": 5, switch-storage: 2}}"`
}

type fileSoak struct {
	Stages       map[string]time.Duration `yaml:"stages" rule:"max=90d" doc:"by stage: from its end to the start of the cluster's next" example:"{switch-storage: 1d}"`
	Environments time.Duration            `yaml:"environments" rule:"max=90d" doc:"from the last cluster's end of a stage to the stage's start in the next environment" example:"1d"`
}

type fileSchedule struct {
	TimeZone string        `yaml:"timezone" rule:"zone" doc:"IANA time zone of everything here" example:"Europe/Berlin"`
	Start    config.Clock  `yaml:"start" doc:"start of the workday, when the launcher runs" example:"\"09:00\""`
	End      config.Clock  `yaml:"end" doc:"no stage starts from then on; not after start: of the next day" example:"\"17:00\""`
	Workdays []string      `yaml:"workdays" rule:"nonempty unique weekday" doc:"days of the week" example:"[mon, tue, wed, thu]"`
	Holidays fileHolidays  `yaml:"holidays" doc:"days off" example:"{calendar: us, dates: [2026-12-24]}"`
	Every    time.Duration `yaml:"every" rule:"max=1d" doc:"launch again after this long inside the window; 0s: once a day" example:"1h"`
	Always   bool          `yaml:"always" doc:"any time of any day, for tests and demos" example:"true"`
}

type fileHolidays struct {
	Calendar string        `yaml:"calendar" doc:"a country's public holidays" example:"us"`
	Dates    []config.Date `yaml:"dates" rule:"unique" doc:"further days" example:"[2026-12-24]"`
}

type fileFreeze struct {
	From         config.Moment `yaml:"from" rule:"required" doc:"when it begins, in the schedule's zone if no offset is given" example:"\"2026-12-18 17:00\""`
	To           config.Moment `yaml:"to" rule:"required" doc:"when it ends" example:"\"2027-01-04 09:00\""`
	Reason       string        `yaml:"reason" rule:"required nonempty max=200" doc:"why, as it is shown on every hold" example:"end of year"`
	Environments []string      `yaml:"environments" rule:"nonempty unique name" doc:"only these; absent: all" example:"[prod]"`
}

type fileBudget struct {
	Campaign    allowance `yaml:"campaign" doc:"in the whole campaign" example:"3"`
	Environment allowance `yaml:"environment" doc:"in one environment" example:"2"`
	Stage       allowance `yaml:"stage" doc:"in one stage of one environment" example:"1"`
}

type fileSwitch struct {
	HoldTTL           time.Duration `yaml:"hold_ttl" rule:"min=1s max=60s" doc:"how long gateways hold at the most" example:"10s"`
	Drain             time.Duration `yaml:"drain" rule:"min=10ms max=5s" doc:"how long open write transactions get to end" example:"1s"`
	Tries             int           `yaml:"tries" rule:"min=1 max=10" doc:"how often the drain is tried" example:"3"`
	OnOpenTransaction string        `yaml:"on_open_transaction" rule:"oneof=call-off|fail" doc:"what happens to a transaction that does not end" example:"call-off"`
	MaxLag            time.Duration `yaml:"max_lag" rule:"min=100ms max=10m" doc:"most lag of the new primary before a switch" example:"5s"`
	Timeout           time.Duration `yaml:"timeout" rule:"min=30s max=3600s" doc:"of the whole switch; overrun undoes it" example:"300s"`
	MinInterval       time.Duration `yaml:"min_interval" rule:"max=7d" doc:"least time between two switches of a cluster" example:"10m"`
}

type fileVerify struct {
	ChunkRows int           `yaml:"chunk_rows" rule:"min=1 max=1000000" doc:"rows that are compared at a time" example:"1000"`
	MaxLag    time.Duration `yaml:"max_lag" rule:"min=100ms max=10m" doc:"the check pauses while a replica lags more" example:"5s"`
	Pause     time.Duration `yaml:"pause" rule:"max=1m" doc:"between two chunks" example:"10ms"`
}

type fileRecord struct {
	TTL time.Duration `yaml:"ttl" rule:"min=1s max=1d" doc:"of the DNS record, how long clients may keep the old answer" example:"60s"`
}

// builtinPolicy is what the key "policy" says if there is no file.
const builtinPolicy = "builtin"

// fileDefaults is the shape with what Defaults says.
func fileDefaults() file {
	d := Defaults()
	var f file
	f.Strategy, f.Order, f.Policy = d.Strategy, d.Order, builtinPolicy
	f.SeenWithin = DefaultSeenWithin
	f.Cells = fileCells{From: d.FromCell, To: d.ToCell}
	f.Limits = fileLimits{PerStage: d.Limits.PerStage}
	f.Soak = fileSoak{Stages: d.Soak.Stages, Environments: d.Soak.Environments}
	f.Schedule = fileSchedule{TimeZone: d.Schedule.TimeZone, Workdays: d.Schedule.Workdays}
	f.Schedule.Start.Minutes, f.Schedule.End.Minutes = 9*60, 17*60
	f.Budget = fileBudget{allowance(d.Budget.Campaign), allowance(d.Budget.Environment), allowance(d.Budget.Stage)}
	f.Switch = fileSwitch(d.Switch)
	f.Verify = fileVerify(d.Verify)
	f.Replay = d.Replay.file()
	f.Record = fileRecord(d.Drain)
	g := DefaultRolling()
	f.Rolling = fileRolling{groupSize(g.Group), share(g.LeastServing), g.DrainWithin, g.HealthyWithin, g.SlowStart, g.Watch}
	f.Contract = fileContract(DefaultContract())
	return f
}

// campaign turns the shape into the value.
func (f *file) campaign(zone *time.Location) Campaign {
	c := Campaign{
		Name: f.Name, Strategy: f.Strategy, Product: f.Product, From: f.From, To: f.To,
		Environments: f.Environments, Order: f.Order, Clusters: f.Clusters, Exclude: f.Exclude,
		FromCell: f.Cells.From, ToCell: f.Cells.To, Nodes: f.Cells.Nodes,
		Limits: Limits{PerStage: f.Limits.PerStage, Stages: f.Limits.Stages, Environments: f.Limits.Environments, PerLaunch: f.Limits.PerLaunch},
		Soak:   Soak(f.Soak),
		Schedule: Schedule{
			TimeZone: f.Schedule.TimeZone, Start: f.Schedule.Start.String(), End: f.Schedule.End.String(), Workdays: f.Schedule.Workdays,
			Calendar: f.Schedule.Holidays.Calendar, Always: f.Schedule.Always, Every: f.Schedule.Every,
		},
		Budget: Budget{int(f.Budget.Campaign), int(f.Budget.Environment), int(f.Budget.Stage)},
		Switch: Switch(f.Switch), Verify: Verify(f.Verify), Replay: f.Replay.settings(zone), Drain: Drain(f.Record), Approve: f.Approve,
		Rolling: Rolling{string(f.Rolling.Group), int(f.Rolling.LeastServing), f.Rolling.DrainWithin, f.Rolling.HealthyWithin, f.Rolling.SlowStart, f.Rolling.Watch}, Contract: Contract(f.Contract), Rehearse: f.Rehearse, SeenWithin: f.SeenWithin,
	}
	for _, d := range f.Schedule.Holidays.Dates {
		c.Schedule.Holidays = append(c.Schedule.Holidays, d.String())
	}
	for _, z := range f.Freezes {
		c.Freezes = append(c.Freezes, Freeze{From: z.From.In(zone), To: z.To.In(zone), Reason: z.Reason, Environments: z.Environments})
	}
	return c
}
