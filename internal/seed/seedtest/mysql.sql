DROP DATABASE app
;;
CREATE DATABASE app CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
;;
USE app
;;
SET sql_mode='ALLOW_INVALID_DATES'
;;
create table t_num(id bigint unsigned primary key auto_increment, a tinyint, b smallint unsigned, c mediumint zerofill, d decimal(30,10), e float, f double, g float(7,3), i bit(1), j bit(64), k boolean default true) comment 'números 🍣'
;;
create table t_str(id int, part varchar(20), a char(10), b varchar(300) character set latin1, c tinytext, d mediumtext character set utf8mb3 collate utf8mb3_bin, e binary(16), f varbinary(200), g blob, h longblob, i enum('x','y','ü'), j set('a','b','c'), k json, l varchar(30) character set ucs2, m varchar(30) collate utf8mb4_0900_as_cs, primary key(part,id), unique key u(a), fulltext key ft(c), key px(c(10)), key fx((lower(b))))
;;
create table t_time(id int primary key, a date, b datetime(6) default current_timestamp(6) on update current_timestamp(6), c timestamp(3) null default null, d time(6), e year, f timestamp not null default current_timestamp on update current_timestamp)
;;
create table t_misc(id int primary key, u binary(16) default (uuid_to_bin(uuid())), c point not null srid 4326, d geometry, v vector(3), inv int invisible default 3, gv varchar(50) as (concat('v',inv)) virtual, gs int as (inv*2) stored, ix int as (inv+1) virtual, key(ix), key off(gs) invisible, spatial key(c), check (inv < 1000), constraint c2 check (gs <> 7) not enforced)
;;
create table t_nokey(a int, b varchar(20))
;;
create table t_uniq(a int not null, b varchar(10) not null, c int, unique key k2(a,b), unique key k1(c))
;;
create table t_part(id int, d int, primary key(id,d)) partition by range(d) (partition p0 values less than (10), partition p1 values less than maxvalue)
;;
create table t_parent(id int primary key) row_format=compressed
;;
create table t_child(id int primary key, p int, constraint fk1 foreign key(p) references t_parent(id) on delete cascade)
;;
create table `odd ``name` (`sel ect` int primary key, `ünï` text)
;;
create table t_enumkey(e enum('z','a','m') , s set('q','r'), b bit(5), y year, primary key(e,s,b,y))
;;
set sql_generate_invisible_primary_key=1
;;
create table t_gipk(v int)
;;
set sql_generate_invisible_primary_key=0
;;
insert into t_gipk values (7),(8)
;;
create view v1 as select id, concat(a,'x') c from t_num where b > 3 with check option
;;
create sql security invoker view a_v2 as select * from v1
;;
create view v3 as select k->>'$.a' j, cast(a as char(3)) ch from t_str
;;
create function f1(a int, b varchar(10)) returns varchar(20) deterministic begin return concat(a,b,'é'); end
;;
create function f2() returns double not deterministic no sql begin return rand(); end
;;
create procedure p1(in a int, out b int) sql security invoker comment 'hü' begin set b = a; end
;;
create trigger tr1 before insert on t_nokey for each row set new.b = concat(new.b,'!')
;;
create trigger tr2 before insert on t_nokey for each row follows tr1 set new.b = concat(new.b,'?')
;;
create event ev1 on schedule every 1 hour starts '2030-01-01 00:00:00' do insert into t_nokey values (1,'ev')
;;
create event ev2 on schedule at '2035-01-01' disable do set @a=1
;;
set sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'
;;
create procedure p2() begin select "id" || 'x' from t_num; end
;;
set names latin1
;;
create procedure p3() select '�'
;;
set names utf8mb4
;;
set sql_mode='ALLOW_INVALID_DATES'
;;
create table load_rows (id bigint primary key auto_increment, v int, s varchar(40))
;;
set cte_max_recursion_depth=5000
;;
insert into load_rows(v,s) with recursive n(i) as (select 1 union all select i+1 from n where i < 3000) select i, concat('first ',i) from n
;;
insert into t_num (a,b,c,d,e,f,g,i,j,k) values (-128,65535,77,12345678901234567890.0123456789,16777217,0.1,1.5,b'1',0xFFFFFFFFFFFFFFFF,0),(null,null,null,null,null,null,null,null,null,null),(1,2,3,4,3.4028234e38,1.7976931348623157e308,0.001,b'0',1,1),(2,3,4,5,1e-30,-0.0,123.456,b'1',2,1)
;;
insert into t_num (e,f) values (0.1,0.30000000000000004),(123456.789,2.2250738585072014e-308)
;;
insert into t_str (id,part,a,b,c,d,e,f,g,h,i,j,k,l,m) values (1,'Ä🍣','abc ','café','tiny','medium 中','0123456789abcdef',x'00ff27225c0a1a',x'00015c5c27',repeat(x'ff00',1000),'ü','a,c','{"b": 1,  "a": [1, 2.50, "it''s \\" ü🍣"]}','中文','ß')
;;
insert into t_str (id,part,a,b,d,k) values (2,'a','a1','it''s \\ "q"','',null),(2,'b','b1','',null,'{}'),(3,'','c1',null,'x','[]')
;;
insert into t_time (id,a,b,c,d,e,f) values (1,'2024-02-29','2024-03-31 02:30:00.123456','2030-01-01 00:00:00.125','-838:59:59.000000',1901,'2001-01-01 00:00:01'),(3,'9999-12-31','1000-01-01 00:00:00','2038-01-18 00:00:00.5','00:00:00',2155,'2037-12-31 23:59:59'),
 (2,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00','00:00:00',0,'0000-00-00 00:00:00'),(4,'2024-02-31','2024-00-00',null,null,null,'2020-01-01')
;;
insert into t_misc (id,c,d,v) values (1,st_srid(point(1.5,-2),4326),st_geomfromtext('linestring(0 0, 1 1)'),string_to_vector('[1,2.5,-3]'))
;;
insert into t_misc (id,c,inv) values (2,st_srid(point(3,4),4326),null)
;;
insert into t_nokey values (1,'a'),(1,'a'),(null,null)
;;
insert into t_uniq values (1,'a',null),(1,'b',2)
;;
insert into t_part values (1,1),(1,11)
;;
insert into t_parent values (1)
;;
set foreign_key_checks=0
;;
insert into t_child values (1,1),(2,99),(3,null)
;;
set foreign_key_checks=1
;;
insert into `odd ``name` values (1,'x')
;;
set sql_mode=''
;;
insert into t_enumkey values ('a','q',b'101',2024),(0,'',0,0)
;;
create role reader, `odd role`@'10.%'
;;
grant select on app.* to reader
;;
create user 'web'@'%' identified by 'web-secret' default role reader require none
;;
create user 'old'@'localhost' identified with sha256_password by 'old-secret' comment 'it''s odd'
;;
create user 'gone'@'%' identified by 'x' account lock
;;
grant insert on app.load_rows to 'web'@'%' with grant option
;;
grant select (id, a) on app.t_num to 'old'@'localhost'
;;
grant execute on procedure app.p1 to 'old'@'localhost'
;;
grant backup_admin on *.* to 'old'@'localhost'
;;
alter user 'web'@'%' identified by 'rotated-secret'
