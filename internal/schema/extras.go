package schema

// pgSkip leaves out the system's schemas and what an extension made.
const pgSkip = ` n.nspname NOT IN ('pg_catalog','information_schema') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%' `

// pgExtras each give kind, schema, table, name and definition.
var pgExtras = []string{
	`SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, n.nspname, '', c.relname, pg_get_viewdef(c.oid)
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind IN ('v','m') AND ` + pgSkip + `
	    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid=c.oid AND d.classid='pg_class'::regclass AND d.deptype='e')`,
	`SELECT 'sequence', n.nspname, '', c.relname, format('%s start %s increment %s min %s max %s cycle %s', format_type(s.seqtypid,NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle)
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace JOIN pg_sequence s ON s.seqrelid=c.oid WHERE ` + pgSkip + `
	    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid=c.oid AND d.classid='pg_class'::regclass AND d.deptype IN ('a','i','e'))`,
	`SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, n.nspname, '', format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), CASE WHEN p.prokind='a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END
	   FROM pg_proc p JOIN pg_namespace n ON n.oid=p.pronamespace WHERE ` + pgSkip + `
	    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid=p.oid AND d.classid='pg_proc'::regclass AND d.deptype='e')`,
	`SELECT 'trigger', n.nspname, c.relname, t.tgname, pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' enabled ' || t.tgenabled::text END
	   FROM pg_trigger t JOIN pg_class c ON c.oid=t.tgrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE NOT t.tgisinternal AND ` + pgSkip,
	`SELECT 'rule', n.nspname, c.relname, r.rulename, pg_get_ruledef(r.oid)
	   FROM pg_rewrite r JOIN pg_class c ON c.oid=r.ev_class JOIN pg_namespace n ON n.oid=c.relnamespace WHERE r.rulename<>'_RETURN' AND ` + pgSkip,
	`SELECT 'policy', n.nspname, c.relname, p.polname, format('%s %s %s using %s check %s', p.polcmd::text, p.polpermissive, p.polroles::text, pg_get_expr(p.polqual,p.polrelid), pg_get_expr(p.polwithcheck,p.polrelid))
	   FROM pg_policy p JOIN pg_class c ON c.oid=p.polrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE ` + pgSkip,
	`SELECT 'row security', n.nspname, c.relname, 'row security', c.relforcerowsecurity::text
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relrowsecurity AND ` + pgSkip,
	`SELECT 'exclusion constraint', n.nspname, c.relname, x.conname, pg_get_constraintdef(x.oid)
	   FROM pg_constraint x JOIN pg_class c ON c.oid=x.conrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE x.contype='x' AND ` + pgSkip,
	// Columns of ON DELETE SET NULL (column, ...), which the catalog has since PostgreSQL 15: the row as JSON can be asked by any version.
	`SELECT 'foreign key', n.nspname, c.relname, x.conname, pg_get_constraintdef(x.oid)
	   FROM pg_constraint x JOIN pg_class c ON c.oid=x.conrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE x.contype='f' AND to_jsonb(x)->>'confdelsetcols' IS NOT NULL AND ` + pgSkip,
	`SELECT 'collation', n.nspname, c.relname, a.attname, l.collname
	   FROM pg_attribute a JOIN pg_type t ON t.oid=a.atttypid JOIN pg_collation l ON l.oid=a.attcollation JOIN pg_class c ON c.oid=a.attrelid JOIN pg_namespace n ON n.oid=c.relnamespace
	  WHERE a.attnum>0 AND NOT a.attisdropped AND a.attcollation<>t.typcollation AND c.relkind IN ('r','p') AND ` + pgSkip,
	`SELECT 'domain', n.nspname, '', t.typname, format_type(t.typbasetype,t.typtypmod) || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END || coalesce(' ' || (SELECT string_agg(pg_get_constraintdef(x.oid), ' ' ORDER BY x.conname) FROM pg_constraint x WHERE x.contypid=t.oid),'')
	   FROM pg_type t JOIN pg_namespace n ON n.oid=t.typnamespace WHERE t.typtype='d' AND ` + pgSkip + `
	    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid=t.oid AND d.classid='pg_type'::regclass AND d.deptype='e')`,
	`SELECT 'composite type', n.nspname, '', c.relname, (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid,a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid=c.oid AND a.attnum>0 AND NOT a.attisdropped)
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind='c' AND ` + pgSkip + `
	    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid=c.reltype AND d.classid='pg_type'::regclass AND d.deptype='e')`,
	`SELECT 'extension', '', '', extname, '' FROM pg_extension`,
	`SELECT 'grant', n.nspname, c.relname, a.privilege_type || ' to ' || CASE WHEN a.grantee=0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, ''
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace, aclexplode(c.relacl) a WHERE a.grantee<>c.relowner AND c.relkind IN ('r','p','v','m','S') AND ` + pgSkip,
	`SELECT 'owner', n.nspname, c.relname, 'owner', pg_get_userbyid(c.relowner)
	   FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind IN ('r','p','v','m') AND ` + pgSkip,
	`SELECT 'inheritance', n.nspname, c.relname, i.inhrelid::regclass::text, ''
	   FROM pg_inherits i JOIN pg_class c ON c.oid=i.inhparent JOIN pg_namespace n ON n.oid=c.relnamespace JOIN pg_class k ON k.oid=i.inhrelid WHERE c.relkind='r' AND ` + pgSkip,
}

var myExtras = []string{
	`SELECT 'view', '', '', TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE()`,
	`SELECT 'trigger', '', EVENT_OBJECT_TABLE, TRIGGER_NAME, CONCAT(ACTION_TIMING,' ',EVENT_MANIPULATION,' ',ACTION_STATEMENT) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()`,
	`SELECT LOWER(r.ROUTINE_TYPE), '', '', r.ROUTINE_NAME, CONCAT(COALESCE(r.DTD_IDENTIFIER,''),' (',COALESCE((SELECT GROUP_CONCAT(CONCAT_WS(' ',p.PARAMETER_MODE,p.PARAMETER_NAME,p.DTD_IDENTIFIER) ORDER BY p.ORDINAL_POSITION) FROM information_schema.PARAMETERS p WHERE p.SPECIFIC_SCHEMA=r.ROUTINE_SCHEMA AND p.SPECIFIC_NAME=r.SPECIFIC_NAME AND p.ORDINAL_POSITION>0),''),') ',COALESCE(r.ROUTINE_DEFINITION,'')) FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA=DATABASE()`,
	`SELECT 'event', '', '', EVENT_NAME, CONCAT(COALESCE(EXECUTE_AT,''),' ',COALESCE(INTERVAL_VALUE,''),' ',COALESCE(INTERVAL_FIELD,''),' ',STATUS,' ',EVENT_DEFINITION) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()`,
}

const mariaSequences = `SELECT 'sequence', '', '', TABLE_NAME, '' FROM information_schema.TABLES WHERE TABLE_TYPE='SEQUENCE' AND TABLE_SCHEMA=DATABASE()`
