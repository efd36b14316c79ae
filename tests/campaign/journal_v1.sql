-- A journal of version 1 as that version made it, told `one_of_each` of test_store.  Never to be changed.
PRAGMA application_id = 1684371555;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE account (
        id INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaign,
        name TEXT NOT NULL,
        account_id TEXT NOT NULL,
        wave INTEGER NOT NULL DEFAULT 0,
        wave_opened_at INTEGER,
        stopped TEXT,
        reason TEXT,
        left_running INTEGER NOT NULL DEFAULT 0,
        quota INTEGER,
        usage INTEGER,
        reset_time INTEGER,
        waits_until INTEGER,
        audited_at INTEGER,
        last_lost_at INTEGER,
        first_since INTEGER,
        -- What is counted.
        posts INTEGER NOT NULL DEFAULT 0,
        commands INTEGER NOT NULL DEFAULT 0,
        lags INTEGER NOT NULL DEFAULT 0,
        longest_lag REAL NOT NULL DEFAULT 0,
        artifacts INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        surplus INTEGER NOT NULL DEFAULT 0,
        foreign_commands INTEGER NOT NULL DEFAULT 0,
        UNIQUE (campaign, name)
    );
INSERT INTO "account" VALUES(1,1,'main','00000000000000000000000000000001',1,1772352010123456,'finished',NULL,0,NULL,NULL,NULL,NULL,1772352028123456,1772352002123456,1772352000123456,3,2,0,0.0,1,4611686018427387904,1,1);
CREATE TABLE artifact (
        target INTEGER NOT NULL,
        command_id TEXT NOT NULL,
        location TEXT NOT NULL,
        size INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        saved_at INTEGER NOT NULL,
        PRIMARY KEY (target, command_id),
        FOREIGN KEY (target, command_id) REFERENCES command
    ) WITHOUT ROWID
    ;
INSERT INTO "artifact" VALUES(4294967297,'c2','captures/c2.zip',4611686018427387904,'0000000000000000000000000000000000000000000000000000000000000001',1772352025123456);
CREATE TABLE campaign (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        spec TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        type TEXT NOT NULL,
        control TEXT NOT NULL,
        planned_at INTEGER NOT NULL,
        -- Where its events begin.  No index tells which are its own: it would take more to keep than it saves, for
        -- campaigns mostly follow each other.
        first_event INTEGER NOT NULL,
        first_run_at INTEGER,
        ended TEXT
    );
INSERT INTO "campaign" VALUES(1,'c','{"name": "x"}','f00d','pcap','pause',1772352004123456,1,1772352008123456,'finished');
CREATE TABLE command (
        target INTEGER NOT NULL REFERENCES target,
        command_id TEXT NOT NULL UNIQUE,
        seq INTEGER NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        provenance TEXT NOT NULL,
        known_at INTEGER NOT NULL,
        created_date INTEGER,
        not_before INTEGER,
        status TEXT,
        completed_date INTEGER,
        filename TEXT,
        listed_after REAL,
        PRIMARY KEY (target, command_id)
    ) WITHOUT ROWID
    ;
INSERT INTO "command" VALUES(4294967297,'c1',13,1,'response',1772352016123456,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "command" VALUES(4294967297,'c2',18,1,'adopted',1772352021123456,1772352360123456,1772352300123456,'SUCCESS',1772352420123456,'f.zip',3.33333333333333314829e-01);
CREATE TABLE device (
        -- What the plan has seen of a target.  It never changes, and so it is apart from what does.
        target INTEGER PRIMARY KEY REFERENCES target,
        device_id TEXT,
        registration_id TEXT,
        user_email TEXT,
        device_name TEXT,
        platform TEXT,
        version TEXT,
        skip TEXT,
        detail TEXT
    );
INSERT INTO "device" VALUES(4294967297,'device-1','r1','user1@example.com','n','p','v',NULL,NULL);
INSERT INTO "device" VALUES(4294967298,NULL,NULL,NULL,NULL,NULL,NULL,'not_found',NULL);
INSERT INTO "device" VALUES(4294967299,'device-3',NULL,'user3@example.com',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaign,
        account INTEGER REFERENCES account,
        target INTEGER,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,
        data TEXT NOT NULL
    );
INSERT INTO "event" VALUES(1,1,NULL,NULL,'CampaignPlanned',1772352004123456,'{"spec":"{\"name\": \"x\"}","fingerprint":"f00d","type":"pcap","accounts":[["main","00000000000000000000000000000001"]]}');
INSERT INTO "event" VALUES(2,1,1,1,'TargetPlanned',1772352005123456,'{"device_id":"device-1","user_email":"user1@example.com","registration_id":"r1","device_name":"n","platform":"p","version":"v","wave":1}');
INSERT INTO "event" VALUES(3,1,1,2,'TargetPlanned',1772352006123456,'{"device_id":null,"user_email":null,"skip":"not_found"}');
INSERT INTO "event" VALUES(4,1,1,3,'TargetPlanned',1772352007123456,'{"device_id":"device-3","user_email":"user3@example.com","wave":1}');
INSERT INTO "event" VALUES(5,1,NULL,NULL,'RunStarted',1772352008123456,'{}');
INSERT INTO "event" VALUES(6,1,NULL,NULL,'ControlRequested',1772352009123456,'{"control":"pause"}');
INSERT INTO "event" VALUES(7,1,1,NULL,'WaveOpened',1772352010123456,'{"wave":1}');
INSERT INTO "event" VALUES(8,1,1,NULL,'QuotaSeen',1772352011123456,'{"quota":1,"usage":2,"reset_time":1772352180123456}');
INSERT INTO "event" VALUES(9,1,1,NULL,'QuotaSeen',1772352012123456,'{"quota":null,"usage":null,"reset_time":null}');
INSERT INTO "event" VALUES(10,1,1,NULL,'QuotaWaited',1772352013123456,'{"until":1772352240123456}');
INSERT INTO "event" VALUES(11,1,1,1,'IntentOpened',1772352014123456,'{"post":"post-1","attempt":1,"since":1772352000123456,"settled_at":1772352120123456}');
INSERT INTO "event" VALUES(12,1,1,1,'IntentClosed',1772352015123456,'{"post":"post-1","outcome":"created"}');
INSERT INTO "event" VALUES(13,1,1,1,'CommandKnown',1772352016123456,'{"command_id":"c1","provenance":"response"}');
INSERT INTO "event" VALUES(14,1,1,1,'CommandOverdue',1772352017123456,'{"command_id":"c1"}');
INSERT INTO "event" VALUES(15,1,1,1,'TargetRetried',1772352018123456,'{"failure":"timeout","not_before":1772352300123456}');
INSERT INTO "event" VALUES(16,1,1,1,'IntentOpened',1772352019123456,'{"post":"p2","attempt":1,"since":1772352000123456,"settled_at":1772352120123456}');
INSERT INTO "event" VALUES(17,1,1,1,'IntentClosed',1772352020123456,'{"post":"p2","outcome":"adopted"}');
INSERT INTO "event" VALUES(18,1,1,1,'CommandKnown',1772352021123456,'{"command_id":"c2","provenance":"adopted","created_date":1772352360123456,"not_before":1772352300123456}');
INSERT INTO "event" VALUES(19,1,1,1,'CommandEnded',1772352022123456,'{"command_id":"c2","status":"SUCCESS","created_date":1772352360123456,"completed_date":1772352420123456,"filename":"f.zip","listed_after":0.3333333333333333}');
INSERT INTO "event" VALUES(20,1,1,1,'ArtifactFailed',1772352023123456,'{"command_id":"c2","error":"it broke"}');
INSERT INTO "event" VALUES(21,1,1,1,'TargetRetried',1772352024123456,'{"failure":"download","not_before":1772352480123456}');
INSERT INTO "event" VALUES(22,1,1,1,'ArtifactSaved',1772352025123456,'{"command_id":"c2","location":"captures/c2.zip","size":4611686018427387904,"sha256":"0000000000000000000000000000000000000000000000000000000000000001","resumed_from":2305843009213693952,"skipped":true}');
INSERT INTO "event" VALUES(23,1,1,3,'IntentOpened',1772352001123456,'{"post":"p3","attempt":1,"since":1772352000123456,"settled_at":1772352120123456}');
INSERT INTO "event" VALUES(24,1,1,3,'IntentClosed',1772352002123456,'{"post":"p3","outcome":"unknown","error":"nobody knows"}');
INSERT INTO "event" VALUES(25,1,1,3,'TargetDropped',1772352003123456,'{"reason":"cancelled"}');
INSERT INTO "event" VALUES(26,1,1,1,'SurplusFound',1772352026123456,'{"command_id":"s","device_id":null,"created_date":null}');
INSERT INTO "event" VALUES(27,1,1,NULL,'ForeignFound',1772352027123456,'{"command_id":"f","device_id":null,"type":null,"created_date":null}');
INSERT INTO "event" VALUES(28,1,1,NULL,'Audited',1772352028123456,'{"since":1772352060123456,"commands":3,"surplus":1,"foreign":1}');
INSERT INTO "event" VALUES(29,1,1,NULL,'AccountStopped',1772352029123456,'{"kind":"finished"}');
INSERT INTO "event" VALUES(30,1,NULL,NULL,'RunEnded',1772352030123456,'{"reason":"finished"}');
CREATE TABLE foreign_command (
        campaign INTEGER NOT NULL REFERENCES campaign,
        command_id TEXT NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        device_id TEXT,
        type TEXT,
        created_date INTEGER,
        found_at INTEGER NOT NULL,
        PRIMARY KEY (campaign, command_id)
    ) WITHOUT ROWID
    ;
INSERT INTO "foreign_command" VALUES(1,'f',1,NULL,NULL,NULL,1772352027123456);
CREATE TABLE intent (
        target INTEGER NOT NULL REFERENCES target,
        seq INTEGER NOT NULL,
        post TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        since INTEGER NOT NULL,
        settled_at INTEGER NOT NULL,
        opened_at INTEGER NOT NULL,
        outcome TEXT,
        closed_at INTEGER,
        -- What two campaigns may not do at once.
        account_id TEXT NOT NULL,
        device_id TEXT,
        registration_id TEXT,
        type TEXT NOT NULL,
        PRIMARY KEY (target, seq)
    ) WITHOUT ROWID
    ;
INSERT INTO "intent" VALUES(4294967297,11,'post-1',1,1772352000123456,1772352120123456,1772352014123456,'created',1772352015123456,'00000000000000000000000000000001','device-1','r1','pcap');
INSERT INTO "intent" VALUES(4294967297,16,'p2',1,1772352000123456,1772352120123456,1772352019123456,'adopted',1772352020123456,'00000000000000000000000000000001','device-1','r1','pcap');
INSERT INTO "intent" VALUES(4294967299,23,'p3',1,1772352000123456,1772352120123456,1772352001123456,'unknown',1772352002123456,'00000000000000000000000000000001','device-3',NULL,'pcap');
CREATE TABLE post (
        account INTEGER NOT NULL REFERENCES account,
        post TEXT NOT NULL,
        PRIMARY KEY (account, post)
    ) WITHOUT ROWID
    ;
INSERT INTO "post" VALUES(1,'p2');
INSERT INTO "post" VALUES(1,'p3');
INSERT INTO "post" VALUES(1,'post-1');
CREATE TABLE retry (
        target INTEGER NOT NULL REFERENCES target,
        failure TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (target, failure)
    ) WITHOUT ROWID
    ;
INSERT INTO "retry" VALUES(4294967297,'download',1);
INSERT INTO "retry" VALUES(4294967297,'timeout',1);
CREATE TABLE surplus_command (
        command_id TEXT NOT NULL PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account,
        target INTEGER NOT NULL REFERENCES target,
        device_id TEXT,
        created_date INTEGER,
        found_at INTEGER NOT NULL
    ) WITHOUT ROWID
    ;
INSERT INTO "surplus_command" VALUES('s',1,4294967297,NULL,NULL,1772352026123456);
CREATE TABLE target (
        -- Its campaign and its number in one, so that it is found without an index and lies in the order of the plan.
        id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        wave INTEGER NOT NULL,
        state TEXT NOT NULL,
        failure TEXT,
        error TEXT,
        reason TEXT,
        changed_at INTEGER NOT NULL,
        not_before INTEGER,
        command_id TEXT
    );
INSERT INTO "target" VALUES(4294967297,1,1,1,'saved',NULL,NULL,NULL,1772352025123456,NULL,'c2');
INSERT INTO "target" VALUES(4294967298,2,1,0,'skipped',NULL,NULL,NULL,1772352006123456,NULL,NULL);
INSERT INTO "target" VALUES(4294967299,3,1,1,'not_attempted',NULL,'nobody knows','cancelled',1772352003123456,NULL,NULL);
CREATE INDEX account_of_service ON account (account_id);
CREATE INDEX target_in_state ON target (account, state, wave, failure);
CREATE INDEX target_waiting ON target (account, wave, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX device_of_service ON device (device_id);
CREATE UNIQUE INDEX intent_open ON intent (account_id, device_id, ifnull(registration_id, ''), type)
    WHERE outcome IS NULL
    ;
CREATE INDEX surplus_of_target ON surplus_command (target);
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN
        SELECT raise(ABORT, 'events are never changed');
    END;
CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event BEGIN
        SELECT raise(ABORT, 'events are never deleted');
    END;
CREATE TRIGGER command_is_not_surplus BEFORE INSERT ON command
    WHEN EXISTS (SELECT 1 FROM surplus_command WHERE command_id = new.command_id) BEGIN
        SELECT raise(ABORT, 'the command is surplus');
    END;
CREATE TRIGGER surplus_is_no_command BEFORE INSERT ON surplus_command
    WHEN EXISTS (SELECT 1 FROM command WHERE command_id = new.command_id) BEGIN
        SELECT raise(ABORT, 'the command is a target''s');
    END;
CREATE TRIGGER post_counted AFTER INSERT ON post BEGIN
        UPDATE account SET posts = posts + 1 WHERE id = new.account;
    END;
CREATE TRIGGER lag_counted AFTER UPDATE OF listed_after ON command
    WHEN new.provenance = 'response' AND old.listed_after IS NULL AND new.listed_after IS NOT NULL BEGIN
        UPDATE account SET lags = lags + 1, longest_lag = max(longest_lag, new.listed_after) WHERE id = new.account;
    END;
CREATE TRIGGER artifact_not_counted AFTER DELETE ON artifact BEGIN
        UPDATE account SET artifacts = artifacts - 1, size = size - old.size
            WHERE id = (SELECT account FROM target WHERE id = old.target);
    END;
CREATE TRIGGER surplus_counted AFTER INSERT ON surplus_command BEGIN
        UPDATE account SET surplus = surplus + 1 WHERE id = new.account;
    END;
CREATE TRIGGER foreign_counted AFTER INSERT ON foreign_command BEGIN
        UPDATE account SET foreign_commands = foreign_commands + 1 WHERE id = new.account;
    END;
COMMIT;
