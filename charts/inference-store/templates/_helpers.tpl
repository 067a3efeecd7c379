{{- define "istore.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "istore.secret" -}}
{{- if .Values.existingSecret -}}
{{ .Values.existingSecret }}
{{- else if .Values.secret -}}
{{ include "istore.name" . }}
{{- else -}}
{{ fail "existingSecret: name a Secret (docs/deployment.md says with which keys)." }}
{{- end -}}
{{- end }}

{{- define "istore.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "istore.labels" -}}
{{ include "istore.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "istore.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest | quote }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end -}}
{{- end }}

{{- define "istore.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "istore.name" . }}
{{- else -}}
default
{{- end -}}
{{- end }}

{{/* One variable out of the Secret: (list name key optional root) */}}
{{- define "istore.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ include "istore.secret" (index . 3) }}
      key: {{ index . 1 }}
      optional: {{ index . 2 }}
{{- end }}

{{/* What templates set, and `settings` cannot. */}}
{{- define "istore.ownVariables" -}}
POD_IP ISTORE_ROLE ISTORE_DATABASE_URL ISTORE_REDIS_URL ISTORE_S3_BUCKET ISTORE_S3_ENDPOINT ISTORE_S3_PUBLIC_ENDPOINT ISTORE_S3_REGION ISTORE_S3_PREFIX ISTORE_PUBLIC_URL ISTORE_PUBLIC_PROXY_URL ISTORE_PROXY_INTERNAL_URL ISTORE_ALLOWED_HOSTS ISTORE_TRUSTED_PROXIES ISTORE_METRICS_PORT ISTORE_WEB_WORKERS ISTORE_GRACE_SECONDS ISTORE_DRAIN_SECONDS ISTORE_DRAIN_SPOOL_SECONDS ISTORE_SPOOL_DIR ISTORE_SPOOL_MAX_BYTES
{{- if .Values.trustedProxies }} ISTORE_BEHIND_TLS_PROXY{{ end }}
{{- if .Values.backup.enabled }} ISTORE_BACKUP_TARGET ISTORE_BACKUP_EVERY_HOURS ISTORE_BACKUP_KEEP ISTORE_BACKUP_ENDPOINT ISTORE_BACKUP_REGION{{ end }}
{{- end }}

{{/* The settings that all roles share. */}}
{{- define "istore.env" -}}
{{- $root := . -}}
- name: ISTORE_DATABASE_URL
  value: {{ required "database.url: names no database." .Values.database.url | quote }}
- name: ISTORE_REDIS_URL
  value: {{ required "redis.url: names no broker." .Values.redis.url | quote }}
- name: ISTORE_S3_BUCKET
  value: {{ required "s3.bucket: names no bucket; hosts share no folder." .Values.s3.bucket | quote }}
{{- range $name, $value := dict "ENDPOINT" .Values.s3.endpoint "PUBLIC_ENDPOINT" .Values.s3.publicEndpoint "REGION" .Values.s3.region "PREFIX" .Values.s3.prefix }}
{{- if $value }}
- name: ISTORE_S3_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
- name: ISTORE_PUBLIC_URL
  value: {{ .Values.publicUrl | quote }}
- name: ISTORE_PUBLIC_PROXY_URL
  value: {{ .Values.publicProxyUrl | quote }}
- name: ISTORE_PROXY_INTERNAL_URL
  value: {{ printf "http://%s-proxy:%v" (include "istore.name" .) .Values.proxy.service.port | quote }}
{{- /* Prometheus asks a pod at its own address. */}}
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
- name: ISTORE_ALLOWED_HOSTS
  value: {{ printf "localhost,127.0.0.1,%s,%s-web,$(POD_IP)" (urlParse .Values.publicUrl).hostname (include "istore.name" .) | quote }}
{{- if .Values.trustedProxies }}
- name: ISTORE_TRUSTED_PROXIES
  value: {{ .Values.trustedProxies | quote }}
- name: ISTORE_BEHIND_TLS_PROXY
  value: "true"
{{- end }}
- name: ISTORE_METRICS_PORT
  value: "9100"
{{- if .Values.backup.enabled }}
{{- /* The job does it: beat only looks how old the last one is. */}}
- name: ISTORE_BACKUP_TARGET
  value: {{ required "backup.target: names no folder or bucket." .Values.backup.target | quote }}
- name: ISTORE_BACKUP_EVERY_HOURS
  value: "0"
- name: ISTORE_BACKUP_KEEP
  value: {{ .Values.backup.keep | quote }}
{{- range $name, $value := dict "ENDPOINT" .Values.backup.endpoint "REGION" .Values.backup.region }}
{{- if $value }}
- name: ISTORE_BACKUP_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{ include "istore.secretVariable" (list "ISTORE_BACKUP_ACCESS_KEY" "backup-access-key" true $root) }}
{{ include "istore.secretVariable" (list "ISTORE_BACKUP_SECRET_KEY" "backup-secret-key" true $root) }}
{{- end }}
{{ include "istore.secretVariable" (list "ISTORE_SECRET_KEY" "secret-key" false $root) }}
{{ include "istore.secretVariable" (list "ISTORE_SIGNING_KEY" "signing-key" false $root) }}
{{ include "istore.secretVariable" (list "ISTORE_METRICS_TOKEN" "metrics-token" false $root) }}
{{ include "istore.secretVariable" (list "ISTORE_DATABASE_PASSWORD" "database-password" true $root) }}
{{ include "istore.secretVariable" (list "ISTORE_REDIS_PASSWORD" "redis-password" true $root) }}
{{ include "istore.secretVariable" (list "ISTORE_S3_ACCESS_KEY" "s3-access-key" true $root) }}
{{ include "istore.secretVariable" (list "ISTORE_S3_SECRET_KEY" "s3-secret-key" true $root) }}
{{- range $name, $value := .Values.settings }}
{{- /* Helm 4 applies on the server, which refuses a variable that is there twice. */}}
{{- if has $name (splitList " " (include "istore.ownVariables" $root)) }}
{{- fail (printf "settings.%s: the chart sets it by a value of its own." $name) }}
{{- end }}
{{- if regexMatch "_(KEY|PASSWORD|TOKEN|SECRET|DSN)$" $name }}
{{- fail (printf "settings.%s: is a secret; name a key of a Secret in extraEnv." $name) }}
{{- end }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "istore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "istore.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
{{- end }}

{{- define "istore.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: home, mountPath: /var/lib/istore }
{{- end }}

{{/* Volumes of a pod: (dict root tmp) */}}
{{- define "istore.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: {{ .tmp }} }
- name: home
  emptyDir: { sizeLimit: {{ .root.Values.scratch.home }} }
{{- end }}

{{/* What all pods have: (dict root role) */}}
{{- define "istore.pod" -}}
automountServiceAccountToken: false
# The processes of a pod have the container's init above them, which reaps what is left.
shareProcessNamespace: true
securityContext:
  {{- include "istore.podSecurity" . | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .root.Values.affinity }}
affinity:
  {{- toYaml .root.Values.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "istore.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* The template of a role's pods: (dict root role grace tmp more) */}}
{{- define "istore.template" -}}
metadata:
  labels:
    {{- include "istore.labels" . | nindent 4 }}
    {{- with .root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Pods start anew when a Secret of the chart changes; one of your own is not seen here.
    checksum/secret: {{ toJson .root.Values.secret | sha256sum }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "istore.serviceAccount" .root }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- include "istore.pod" . | nindent 2 }}
  containers:
    - name: {{ .role }}
      image: {{ include "istore.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [run, {{ .role }}]
      env:
        - name: ISTORE_ROLE
          value: {{ .role }}
        {{- include "istore.env" .root | nindent 8 }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
      ports:
        {{- if .port }}
        - { name: http, containerPort: {{ .port }} }
        {{- else }}
        - { name: metrics, containerPort: 9100 }
        {{- end }}
      {{- if .port }}
      startupProbe:
        httpGet: { path: {{ .live }}, port: http, httpHeaders: [{ name: Host, value: localhost }] }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: {{ .live }}, port: http, httpHeaders: [{ name: Host, value: localhost }] }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: {{ .ready }}, port: http, httpHeaders: [{ name: Host, value: localhost }] }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- else }}
      startupProbe:
        exec: { command: [istore-probe, {{ .role }}] }
        periodSeconds: 5
        timeoutSeconds: 10
        failureThreshold: 60
      livenessProbe:
        exec: { command: [istore-probe, {{ .role }}] }
        periodSeconds: 60
        timeoutSeconds: 20
        failureThreshold: 3
      {{- end }}
      {{- with .lifecycle }}
      lifecycle:
        {{- . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml (index .root.Values .role).resources | nindent 8 }}
      securityContext:
        {{- include "istore.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "istore.mounts" . | nindent 8 }}
        {{- with .mounts }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "istore.volumes" . | nindent 4 }}
{{- end }}
