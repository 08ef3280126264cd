# Completion of curt(1) for bash. `make install` puts it where the package
# bash-completion looks; or read it in from ~/.bashrc.

_curt()
{
    local commands="create edit get delete disable enable qr table backup
        restore key plan hits setup doctor config keys help"
    local options="--config --json --help --version"
    local drawing="--output --format --size --level --margin --ascii"
    local attributes="--ttl --expires-at --not-before --max-hits
        --redirect-status --forward-query --title --tags"
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command="" files=0 i
    # "--format=p" is three words here.
    if [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $cur == = ]]; then
        cur=""
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config) ((i++)) ;;
        -*) ;;
        *)
            command=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    case $command in
    create) options+=" $attributes $drawing --qr --id --find-if-exists" ;;
    edit) options+=" $attributes --long-url" ;;
    disable) options+=" --reason --warn" ;;
    qr) options+=" $drawing" ;;
    table) options+=" --billing --read-units --write-units
        --deletion-protection --point-in-time-recovery --tag" ;;
    key) options+=" --scopes --plan --expires --grace" ;;
    plan) options+=" --rate --quota" ;;
    setup) options+=" --server --domain --alias --email --store --prefix
        --instance --http --dns-hook --acme-server --dry-run" ;;
    esac

    local words=""
    case $prev,$command in
    -c,* | --config,* | --output,* | --dns-hook,*) files=1 ;;
    --server,*) words="lighttpd apache nginx none" ;;
    --store,*) words="sqlite dynamodb" ;;
    --domain,* | --alias,* | --email,* | --prefix,* | --instance,*) ;;
    --acme-server,*) ;;
    --billing,*) words="on-demand provisioned" ;;
    --format,*) words="svg png" ;;
    --level,*) words="L M Q H" ;;
    --redirect-status,*) words="301 302 307 308" ;;
    --forward-query,*) words="on off" ;;
    --size,* | --margin,* | --*-units,* | --tag,*) ;;
    --id,* | --ttl,* | --expires-at,* | --not-before,* | --max-hits,*) ;;
    --title,* | --tags,* | --long-url,*) ;;
    --reason,*) ;;
    --scopes,*) words="create read manage admin own" ;;
    --plan,* | --expires,* | --grace,* | --rate,* | --quota,*) ;;
    *)
        case $cur,$command in
        -*) words=$options ;;
        *,) words=$commands ;;
        *,help) words=$commands ;;
        *,table) words="create check" ;;
        *,key) words="create list show disable enable revoke rotate" ;;
        *,plan) words="set list show delete" ;;
        *,backup | *,restore) files=1 ;;
        esac
        ;;
    esac
    if ((files)); then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -F _curt curt
